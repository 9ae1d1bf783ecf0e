import type { Finding, Path } from './parse.ts'
import { itemFault, type GuardRuleDocument, type ListName, type PolicyDocument, RESERVED_IDS, type RuleDocument, SYSTEM_CHAIN } from './schema.ts'

/** What the firewall needs to know of an operation. */
export interface OperationFacts {
  readonly name: string
  readonly effect: 'durable' | 'transient'
  /** Whether callers can reach it, or only the service itself. */
  readonly isRouted: boolean
}

export const covers = (pattern: string, name: string): boolean =>
  pattern === '*' || pattern === name || (pattern.endsWith('.*') && name.startsWith(pattern.slice(0, -1)))

export const LISTS = ['callers', 'operations', 'zones', 'keyLabels', 'keyClasses', 'vendors', 'regions', 'cardStates', 'organisations'] as const

/** What of a document refers to what is not there, or contradicts itself, though each part has the right form. */
export function referenceFaults(document: PolicyDocument, operations?: readonly OperationFacts[]): Finding[] {
  // A set is looked at wherever it is named, and told of once.
  const findings = new Map<string, Finding>()
  const fault = (path: Path, message: string): void => void findings.set(`${path.join('.')} ${message}`, { path, message })

  const checkList = (name: ListName, items: readonly string[], path: Path): void => {
    items.forEach((item, at) => {
      if (item.startsWith('$')) checkSet(item.slice(1), name, [...path, at])
      else checkItem(name, item, [...path, at])
    })
  }
  const checkSet = (set: string, name: ListName, usedAt: Path): void => {
    if (!Object.hasOwn(document.sets, set)) {
      fault(usedAt, `found $${set}, expected the name of one of the sets: ${listed(Object.keys(document.sets))}`)
      return
    }
    document.sets[set]?.forEach((member, at) => {
      const wanted = itemFault(name, member)
      if (wanted === undefined) checkItem(name, member, ['sets', set, at])
      else fault(['sets', set, at], `found ${JSON.stringify(member)}, expected ${wanted}, as a list of ${name} names this set`)
    })
  }
  const checkItem = (name: ListName, item: string, path: Path): void => {
    if (name === 'zones' && !Object.hasOwn(document.zones, item))
      fault(path, `no zone is named ${item}; expected one of ${listed(Object.keys(document.zones))}`)
    if (name === 'operations' && operations !== undefined && !operations.some((op) => covers(item, op.name))) fault(path, `no operation is named ${item}`)
  }
  const checkLevels = (levels: readonly string[] | undefined, path: Path): void =>
    levels?.forEach((level, at) => {
      if (!Object.values(document.zones).some((zone) => zone.level === level)) fault([...path, at], `no zone has the level ${level}`)
    })

  const ids = new Set(RESERVED_IDS)
  const checkRule = (rule: RuleDocument | GuardRuleDocument, path: Path, chain: string | undefined): void => {
    if (ids.has(rule.id))
      fault(
        [...path, 'id'],
        RESERVED_IDS.includes(rule.id) ? `found ${rule.id}, which the engine itself answers with` : `there is a rule named ${rule.id} already`,
      )
    ids.add(rule.id)
    if (rule.owner === undefined && document.owner === undefined) fault(path, 'found no owner, expected one here or for the whole document')
    for (const name of LISTS) {
      const items = rule[name]
      if (items !== undefined) checkList(name, items, [...path, name])
    }
    checkLevels(rule.levels, [...path, 'levels'])
    rule.times?.forEach(({ from, to }, at) => {
      if (from !== undefined && from === to) fault([...path, 'times', at, 'to'], `found ${to}, expected another time than from`)
    })
    for (const [fact, wanted] of Object.entries(rule.where ?? {})) {
      const at = [...path, 'where', fact]
      if (typeof wanted === 'string' && wanted.startsWith('$')) {
        if (wanted !== '$caller') checkSet(wanted.slice(1), 'where', at)
      } else if (Array.isArray(wanted)) checkList('where', wanted, at)
    }
    if (chain !== undefined) checkCallers(rule, path, chain)
    if ('hold' in rule || rule.verdict === 'hold') checkVerdict(rule, path)
    if ('quota' in rule && rule.quota !== undefined && (rule.quota.count === undefined) === (rule.quota.sum === undefined))
      fault([...path, 'quota'], 'found both or none of count and sum, expected one of them')
    if ('rate' in rule && rule.rate !== undefined) {
      if (rule.verdict === 'deny') fault([...path, 'rate'], 'found a rate at a rule that denies, expected it at rules that allow or hold')
      if (rule.rate.burst !== undefined && rule.rate.burst < 1) fault([...path, 'rate', 'burst'], 'found less than one')
    }
    if ('quota' in rule && rule.quota !== undefined && rule.verdict === 'deny')
      fault([...path, 'quota'], 'found a quota at a rule that denies, expected it at rules that allow or hold')
  }
  const checkVerdict = (rule: RuleDocument | GuardRuleDocument, path: Path): void => {
    const hold = 'hold' in rule ? rule.hold : undefined
    if (rule.verdict === 'hold' && hold === undefined) fault(path, 'found no hold, expected how many approvals of whom and within what time')
    if (rule.verdict !== 'hold' && hold !== undefined) fault([...path, 'hold'], `found hold at a rule that says ${rule.verdict}, expected the verdict hold`)
    if (hold !== undefined) checkList('callers', hold.of, [...path, 'hold', 'of'])
  }
  /** The service's own jobs enter the chain `system`, and nobody else does. */
  const checkCallers = (rule: RuleDocument | GuardRuleDocument, path: Path, chain: string): void => {
    if (rule.callers === undefined && rule.roles === undefined && rule.verdict !== 'deny')
      fault(path, 'found neither callers nor roles, expected one of them at a rule that allows or holds')
    const isSystem = chain === SYSTEM_CHAIN
    const strange = (kind: string): boolean => (kind === 'system') !== isSystem
    const tell = isSystem ? 'no caller but system:... enters the chain system' : 'callers system:... enter the chain system alone'
    rule.callers?.forEach((caller, at) => {
      const members = caller.startsWith('$') ? (document.sets[caller.slice(1)] ?? []) : [caller]
      for (const member of members) if (strange(member.split(':', 1)[0] ?? '')) fault([...path, 'callers', at], `found ${member}: ${tell}`)
    })
    rule.roles?.forEach((role, at) => {
      if (strange(role)) fault([...path, 'roles', at], `found ${role}: ${tell}`)
    })
    if (isSystem && (rule.zones !== undefined || rule.levels !== undefined))
      fault([...path, rule.zones === undefined ? 'levels' : 'zones'], 'found zones in the chain system: the service’s own jobs come from nowhere')
  }

  let others: string | undefined
  for (const [name, zone] of Object.entries(document.zones)) {
    const path = ['zones', name]
    if ((zone.networks === undefined) === (zone.others === undefined)) fault(path, 'found both or none of networks and others, expected one of them')
    if (zone.others !== undefined && others !== undefined) fault([...path, 'others'], `the zone ${others} has all others already`)
    if (zone.others !== undefined) others = name
  }
  document.guard.forEach((rule, at) => checkRule(rule, ['guard', at], undefined))
  const names = new Set<string>()
  document.chains.forEach((chain, at) => {
    const path = ['chains', at]
    if (names.has(chain.name)) fault([...path, 'name'], `there is a chain named ${chain.name} already`)
    names.add(chain.name)
    const isSystem = chain.name === SYSTEM_CHAIN
    if (isSystem !== (chain.zones === undefined && chain.levels === undefined))
      fault(
        path,
        isSystem ? 'found zones at the chain system, which the service’s own jobs enter' : 'found neither zones nor levels, expected who enters the chain',
      )
    if (chain.zones !== undefined) checkList('zones', chain.zones, [...path, 'zones'])
    checkLevels(chain.levels, [...path, 'levels'])
    chain.rules.forEach((rule, index) => checkRule(rule, [...path, 'rules', index], chain.name))
  })
  document.tests.forEach(({ ask, expect }, at) => {
    if (operations !== undefined && !operations.some(({ name }) => name === ask.operation))
      fault(['tests', at, 'ask', 'operation'], `no operation is named ${ask.operation}`)
    const { rule } = expect
    if (rule !== undefined && !rule.startsWith('guard:') && rule !== 'default' && !ids.has(rule))
      fault(['tests', at, 'expect', 'rule'], `no rule is named ${rule}`)
  })
  return [...findings.values()]
}

const MOST_LISTED = 8
const listed = (names: readonly string[]): string =>
  names.length === 0 ? 'none, as there are none' : `${names.slice(0, MOST_LISTED).join(', ')}${names.length > MOST_LISTED ? ' ...' : ''}`
