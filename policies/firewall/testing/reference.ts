import { BlockList, isIP } from 'node:net'
import { type Caller, callerUrn } from '../../caller.ts'
import { ATTRIBUTES } from '../attribute.ts'
import type { Asked } from '../decide.ts'
import { GUARD } from '../guard.ts'
import type { Policy } from '../parse.ts'
import type { OperationFacts } from '../references.ts'
import type { GuardRuleDocument, PolicyDocument, RuleDocument } from '../schema.ts'

type Rule = RuleDocument | GuardRuleDocument

/** The language as its page says it, rule by rule, from the document itself: what the engine is compared with. It shares nothing with the engine but the document's types. */
export function decideByReference({ document }: Policy, operations: readonly OperationFacts[], asked: Asked): { effect: string; rule: string } {
  const { caller, operation, uses, at } = asked
  const op = operations.find(({ name }) => name === operation)
  if (op === undefined) return { effect: 'deny', rule: 'default' }
  const guard = GUARD.find(
    (one) =>
      one.concerns(op) &&
      one.roles.includes(caller.kind) &&
      (one.usesKey === undefined || uses.length > 0) &&
      (one.notAdmitted === undefined || !(caller.admittedUntil !== undefined && caller.admittedUntil > at)),
  )
  if (guard !== undefined) return { effect: 'deny', rule: `guard:${guard.name}` }
  const inside = zonesOf(document, caller)
  const enters = (chain: PolicyDocument['chains'][number]): boolean =>
    caller.kind === 'system'
      ? chain.name === 'system'
      : expand(document, chain.zones ?? []).some((zone) => inside.includes(zone)) || inLevels(document, inside, chain.levels ?? [])
  const rules: readonly Rule[] = [...document.guard, ...(document.chains.find(enters)?.rules ?? [])]
  const rule = rules.find((one) => matches(document, one, asked, inside) && (one.expires === undefined || at < Date.parse(one.expires)))
  return rule === undefined ? { effect: 'deny', rule: 'default' } : { effect: rule.verdict, rule: rule.id }
}

const expand = ({ sets }: PolicyDocument, items: readonly string[]): string[] =>
  items.flatMap((item) => (item.startsWith('$') ? (sets[item.slice(1)] ?? []) : [item]))
const inLevels = ({ zones }: PolicyDocument, inside: readonly string[], levels: readonly string[]): boolean =>
  inside.some((zone) => levels.includes(zones[zone]?.level ?? 'none'))

/** IPv4 networks hold IPv4 addresses, mapped ones too; IPv6 networks the others. */
function zonesOf({ zones }: PolicyDocument, { kind, address, listener }: Caller): string[] {
  if (kind === 'system' || address === undefined) return []
  const plain = address.replace(/^::ffff:(?=\d+\.)/i, '')
  const family = isIP(plain) === 6 ? 'ipv6' : 'ipv4'
  const holds = (zone: PolicyDocument['zones'][string]): boolean => {
    const networks = new BlockList()
    for (const text of zone.networks ?? []) {
      if (text.includes(':') === (family === 'ipv6')) networks.addSubnet(text.split('/')[0] ?? '', Number(text.split('/')[1]), family)
    }
    return networks.check(plain, family)
  }
  const isOther = !Object.values(zones).some(holds)
  return Object.entries(zones).flatMap(([name, zone]) =>
    (zone.others === true ? isOther : holds(zone)) && (zone.listener ?? listener) === listener ? [name] : [],
  )
}

function matches(document: PolicyDocument, rule: Rule, { caller, operation, facts, at }: Asked, inside: readonly string[]): boolean {
  const fact = (name: string): Asked['facts'][string] | undefined => (Object.hasOwn(facts, name) ? facts[name] : undefined)
  const listed = (items: readonly string[] | undefined, holds: (item: string) => boolean): boolean => items === undefined || expand(document, items).some(holds)
  const where = (name: string, wanted: unknown): boolean => {
    const value = fact(name)
    if (value === undefined || typeof value === 'object') return false
    if (wanted === '$caller') return value === callerUrn(caller)
    if (typeof wanted === 'string' && wanted.startsWith('$')) return expand(document, [wanted]).includes(String(value))
    return Array.isArray(wanted) ? expand(document, wanted as string[]).includes(String(value)) : value === wanted
  }
  const summed = 'quota' in rule ? rule.quota?.sum?.fact : undefined
  return (
    listed(rule.operations, (item) => item === '*' || item === operation || (item.endsWith('.*') && operation.startsWith(item.slice(0, -1)))) &&
    listed(rule.callers, (item) => item === `${caller.kind}:*` || item === `${caller.kind}:${caller.name}`) &&
    listed(rule.roles, (item) => item === caller.kind) &&
    listed(rule.strength, (item) => item === caller.strength) &&
    listed(rule.zones, (item) => inside.includes(item)) &&
    (rule.levels === undefined || inLevels(document, inside, rule.levels)) &&
    (['keyClasses', 'vendors', 'cardStates', 'organisations'] as const).every((name) => listed(rule[name], (item) => item === fact(ATTRIBUTES[name]))) &&
    listed(rule.keyLabels, (item) => typeof fact('label') === 'string' && like(item).test(String(fact('label')))) &&
    listed(rule.regions, (item) => typeof fact('region') === 'string' && /^\d{6}$/.test(String(fact('region'))) && String(fact('region')).startsWith(item)) &&
    Object.entries(rule.where ?? {}).every(([name, wanted]) => where(name, wanted)) &&
    (summed === undefined || (Number.isFinite(fact(summed)) && Number(fact(summed)) >= 0)) &&
    (rule.times === undefined || rule.times.some((window) => isOpen(window, at)))
  )
}

const like = (glob: string): RegExp =>
  new RegExp(
    `^${glob
      .replaceAll(/[\\^$.|+()[\]{}]/g, '\\$&')
      .replaceAll('*', '.*')
      .replaceAll('?', '.')}$`,
    'su',
  )

/** By the words for local time that the platform prints. */
function isOpen({ days, from = '00:00', to = '24:00', timeZone }: NonNullable<Rule['times']>[number], at: number): boolean {
  const words = (when: number): { day: string; time: string } => {
    const parts = new Intl.DateTimeFormat('en-GB', { timeZone, weekday: 'short', hour: '2-digit', minute: '2-digit', hourCycle: 'h23' }).formatToParts(when)
    const part = (type: string): string => parts.find((one) => one.type === type)?.value ?? ''
    return { day: part('weekday').toLowerCase(), time: `${part('hour')}:${part('minute')}` }
  }
  const { day, time } = words(at)
  const week = ['mon', 'tue', 'wed', 'thu', 'fri', 'sat', 'sun'] as const
  const has = (name: string | undefined): boolean => days === undefined || days.some((one) => one === name)
  const before = week[(week.findIndex((name) => name === day) + 6) % 7]
  return from < to ? has(day) && from <= time && time < to : (has(day) && from <= time) || (has(before) && time < to)
}
