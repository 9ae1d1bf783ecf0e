import { readFileSync } from 'node:fs'
import { parse, stringify } from 'yaml'
import { describe, expect, it } from 'vitest'
import { ADMITTED_AT_ANY_TIME, CALLER_KINDS, type Caller, callerUrn } from '../policies/caller.ts'
import { analysePolicy, compareMeaning, loadPolicy, type LoadedPolicy, PolicyError } from '../policies/firewall/index.ts'
import { OPERATION_LIST } from './operation-list.ts'
import { projectFile } from './project-file.ts'

const text = readFileSync(projectFile('examples/policy.yaml'), 'utf8')
const NOW = Date.parse('2026-11-26T12:00:00Z')
const load = (policy: string): LoadedPolicy => loadPolicy(policy, { operations: OPERATION_LIST, now: NOW })

interface RuleText extends Record<string, unknown> {
  readonly id: string
}
interface PolicyText {
  guard: RuleText[]
  chains: { name: string; rules: RuleText[] }[]
}

const rules = (): RuleText[] => {
  const { guard, chains } = parse(text) as PolicyText
  return [...guard, ...chains.flatMap((chain) => chain.rules)]
}

/** The policy with another rule in the place of one. */
function mutate(id: string, change: (rule: RuleText, chain: string) => RuleText): string {
  const document = parse(text) as PolicyText
  const mutated = (all: RuleText[], chain: string): RuleText[] => all.map((rule) => (rule.id === id ? change(rule, chain) : rule))
  document.guard = mutated(document.guard, 'guard')
  for (const chain of document.chains) chain.rules = mutated(chain.rules, chain.name)
  return stringify(document)
}

type Change = (rule: RuleText, chain: string) => RuleText
const CONDITIONS = ['roles', 'strength', 'where', 'zones', 'levels', 'times', 'keyLabels', 'keyClasses', 'vendors', 'regions', 'cardStates', 'organisations']
const EVERYBODY: Change = (rule, chain) => ({ ...rule, callers: chain === 'system' ? ['system:*'] : CALLER_KINDS.map((kind) => `${kind}:*`) })
const EVERYTHING: Change = (rule) => ({ ...rule, operations: ['*'] })
const without =
  (condition: string): Change =>
  ({ [condition]: _left, ...rule }) =>
    rule as RuleText

/** Every way in which a rule is widened by opening or leaving out one condition. */
const WIDENINGS = rules().flatMap((rule): (readonly [id: string, condition: string, change: Change])[] => [
  ...(rule['callers'] === undefined ? [] : [[rule.id, 'callers', EVERYBODY] as const]),
  ...(JSON.stringify(rule['operations']) === '["*"]' ? [] : [[rule.id, 'operations', EVERYTHING] as const]),
  ...CONDITIONS.flatMap((condition) => (rule[condition] === undefined ? [] : [[rule.id, condition, without(condition)] as const])),
])

function failuresOf(policy: string): readonly string[] {
  try {
    load(policy)
    return []
  } catch (error) {
    if (error instanceof PolicyError) return error.faults.map(({ message }) => message)
    throw error
  }
}

describe('the shipped policy', () => {
  it('passes its own tests', () => {
    const loaded = load(text)
    expect(loaded.policy.document.tests.length).toBeGreaterThan(80)
  })

  it.each(rules().map(({ id }) => id))('with %s out of force fails one of its tests', (id) => {
    const failures = failuresOf(mutate(id, (rule) => ({ ...rule, expires: '2026-01-01T00:00:00Z' })))
    expect(failures.length).toBeGreaterThan(0)
    for (const message of failures) expect(message).toMatch(/^test "/)
  })

  it.each(WIDENINGS)('with %s widened in %s fails one of its tests', (id, _condition, change) => {
    const failures = failuresOf(mutate(id, change))
    expect(failures.length).toBeGreaterThan(0)
    for (const message of failures) expect(message).toMatch(/^test "/)
  })

  it('has no rule that nothing reaches, that others take everything from, or that could be left out', () => {
    const { resolved, decide } = load(text)
    const { findings, more } = analysePolicy(resolved, { decide, at: NOW })
    expect(findings).toEqual([])
    expect(more).toEqual({})
  })

  it('is compared whole: with itself, and with the extranet taken out of its guard', () => {
    const compare = (other: string) => {
      const [before, after] = [load(text), loadPolicy(other, { operations: OPERATION_LIST, now: NOW })]
      return compareMeaning({ policy: before.resolved, decide: before.decide }, { policy: after.resolved, decide: after.decide }, NOW)
    }
    expect(compare(text)).toEqual({ regions: [], undecided: [] })
    const { tests: _tests, ...rest } = parse(text) as PolicyText & { tests: unknown }
    for (const rule of rest.guard.filter(({ id }) => id === 'no-key-administration-from-outside')) Object.assign(rule, { levels: ['internet'] })
    for (const { name, rules: own } of rest.chains)
      if (name === 'extranet') own.push({ id: 'x', verdict: 'allow', reason: 'x', callers: ['officer:*'], operations: ['kms.certificate.*'] })
    expect(compare(stringify(rest))).toMatchObject({
      regions: [
        {
          change: 'newly-allowed',
          before: { rule: 'no-key-administration-from-outside' },
          after: { rule: 'x' },
          example: { caller: { kind: 'officer', address: '203.0.113.0' } },
        },
      ],
      undecided: [],
    })
  })

  it('is decided as the reviewed table says: every operation, every role, every zone', async () => {
    await expect(matrixText(load(text))).toMatchFileSnapshot('../policies/firewall/testing/matrix.golden.txt')
  })
})

const JOBS = ['start', 'profiles', 'init', 'fill', 'crl', 'attestation', 'policies', 'holds', 'quotas', 'rotation', 'sessions', 'login']
const ADDRESSES: Readonly<Record<string, string>> = {
  local: '127.0.0.1',
  headquarters: '192.0.2.10',
  provinces: '192.0.2.200',
  intranet: '198.51.100.10',
  extranet: '203.0.113.10',
  internet: '8.8.8.8',
}

/** Every operation by every role from every zone: one line an operation, one column a zone, in it the roles that may. */
function matrixText({ decide, policy }: LoadedPolicy): string {
  expect(Object.keys(ADDRESSES)).toEqual(Object.keys(policy.document.zones))
  const may = (kind: Caller['kind'], name: string, operation: string, owner: string, address?: string): boolean => {
    const from = address === undefined ? {} : ({ address, listener: 'tls', strength: 'certificate' } as const)
    const caller: Caller = { kind, name, id: 'x', ...from }
    const urn = owner === 'own' ? callerUrn(caller) : owner
    return (
      decide({
        ...{ operation, caller: { ...caller, admittedUntil: ADMITTED_AT_ANY_TIME }, uses: [], at: NOW },
        facts: { owner: urn, requester: urn, region: owner === 'own' ? '330106' : '440305', cardState: 'delivered' },
      }).effect === 'allow'
    )
  }
  const line = (cells: readonly string[]): string =>
    cells
      .map((cell, at) => cell.padEnd(at === 0 ? 44 : 36))
      .join(' ')
      .trimEnd()
  const table = (owner: string): string[] =>
    OPERATION_LIST.map(({ name: operation }) =>
      line([
        operation,
        ...Object.values(ADDRESSES).map((address) => CALLER_KINDS.filter((kind) => may(kind, 'name', operation, owner, address)).join(' ') || '-'),
        JOBS.filter((job) => may('system', job, operation, owner)).join(' ') || '-',
      ]),
    )
  const head = line(['', ...Object.keys(ADDRESSES), 'jobs of the service'])
  return [
    'On a matter of the caller’s own, and cards of the province:',
    head,
    ...table('own'),
    '',
    'On a matter of another’s, and cards of another province:',
    head,
    ...table('urn:gridseal:module:other'),
    '',
  ].join('\n')
}
