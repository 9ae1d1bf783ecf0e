import { readFileSync } from 'node:fs'
import {
  analysePolicy,
  askedBy,
  compareMeaning,
  compilePolicyText,
  type Difference,
  type Explanation,
  explainer,
  type FailedTest,
  formatFault,
  type LoadedPolicy,
  parseTestAsk,
  PolicyError,
  runTests,
} from '../../policies/firewall/index.ts'
import { OPERATION_LIST } from '../operation-list.ts'
import { CliError } from './cli-error.ts'

/** Of `gridseal policy`: nothing to be told; something that is (a finding, a difference, a failed test); a file or option that cannot be read. */
const EXIT = { fine: 0, found: 1, unreadable: 2 } as const

interface Printed {
  readonly json?: boolean
}

/** Anomalies that are a matter of taste: exceptions before a general rule, rules whose order matters. They are told, and are no finding. */
const NOTES: ReadonlySet<string> = new Set(['correlated', 'generalised', 'undecided'])

/** Reads, tests and analyses a policy. Exit code 1 where a test fails, a rule is of no use, or the service would refuse it. */
export function checkPolicyFile({ file, at, json }: { readonly file: string; readonly at?: string } & Printed): void {
  const loaded = load(file)
  const now = timeOf(at)
  const failed = testsOf(loaded, now)
  const { findings, more } = analysePolicy(loaded.resolved, { decide: loaded.decide, at: now })
  const notes = findings.filter(({ anomaly }) => NOTES.has(anomaly))
  const found = findings.filter(({ anomaly }) => !NOTES.has(anomaly))
  const rules = loaded.resolved.rules.filter(({ path }) => path !== undefined).length
  if (json === true) print({ revision: loaded.policy.revision, rules, tests: loaded.policy.document.tests.length, failed, findings: found, notes, more })
  else {
    console.log(`${file}: revision ${loaded.policy.revision}, ${String(rules)} rules, ${String(loaded.policy.document.tests.length)} tests`)
    tell(file, failed)
    for (const { anomaly, rule, message } of [...found, ...notes]) console.log(`  ${NOTES.has(anomaly) ? 'note: ' : ''}rule ${rule}: ${anomaly}. ${message}`)
    for (const [anomaly, count] of Object.entries(more)) console.log(`  and ${String(count)} more ${anomaly}`)
    if (failed.length + found.length === 0) console.log('  nothing is wrong with it')
  }
  if (failed.length + found.length > 0) process.exitCode = EXIT.found
}

/** Puts the policy's own tests to it. Exit code 1 where one fails. */
export function testPolicyFile({ file, at, json }: { readonly file: string; readonly at?: string } & Printed): void {
  const loaded = load(file)
  const failed = testsOf(loaded, timeOf(at))
  const count = loaded.policy.document.tests.length
  if (json === true) print({ revision: loaded.policy.revision, tests: count, failed })
  else {
    tell(file, failed)
    console.log(`${file}: ${String(count - failed.length)} of ${String(count)} tests pass`)
  }
  if (failed.length > 0) process.exitCode = EXIT.found
}

/** What changes between two revisions, with a request for each region. Exit code 1 where something does, or where that could not be decided. */
export function diffPolicyFiles({ before, after, at, json }: { readonly before: string; readonly after: string; readonly at?: string } & Printed): void {
  const [old, fresh] = [load(before), load(after)]
  const { regions, undecided } = compareMeaning({ policy: old.resolved, decide: old.decide }, { policy: fresh.resolved, decide: fresh.decide }, timeOf(at))
  if (json === true) print({ before: old.policy.revision, after: fresh.policy.revision, regions: regions.map(withTime), undecided })
  else console.log(describeDifference({ regions, undecided }))
  if (regions.length + undecided.length > 0) process.exitCode = EXIT.found
}

/** What a change of the policy would be, for who asks for it and who approves it: what is of no use in the new one, and what is decided differently. Of texts. */
export function describeChange(before: string, after: string): string {
  const [old, fresh, at] = [compileText('the policy in force', before), compileText('the new policy', after), Date.now()]
  const { findings } = analysePolicy(fresh.resolved, { decide: fresh.decide, at })
  const found = findings.filter(({ anomaly }) => !NOTES.has(anomaly)).map(({ anomaly, rule, message }) => `rule ${rule}: ${anomaly}. ${message}`)
  const difference = compareMeaning({ policy: old.resolved, decide: old.decide }, { policy: fresh.resolved, decide: fresh.decide }, at)
  return [...found, describeDifference(difference)].join('\n')
}

function describeDifference({ regions, undecided }: Difference): string {
  const lines = regions.flatMap(({ change, before, after, example, where }) => [
    `${change}: ${before.effect} by ${before.rule} -> ${after.effect} by ${after.rule}`,
    ...where.map((line) => `    ${line}`),
    `    such as: ${describeAsked(example)}`,
  ])
  const all = [...lines, ...undecided.map((line) => `undecided: ${line}`)]
  return all.length === 0 ? 'Every request is decided the same.' : all.join('\n')
}

type Asked = Difference['regions'][number]['example']
const describeAsked = ({ operation, caller, uses, facts, at }: Asked): string =>
  [
    `--caller ${caller.kind}:${caller.name} --operation ${operation}`,
    ...(caller.address === undefined ? [] : [`--address ${caller.address}`]),
    ...(caller.listener === undefined || caller.listener === 'tls' ? [] : [`--listener ${caller.listener}`]),
    ...(caller.kind === 'system' || caller.strength === 'certificate' ? [] : [`--strength ${caller.strength ?? 'none'}`]),
    ...(uses.length > 0 ? ['--uses-key'] : []),
    ...Object.entries(facts).map(([fact, value]) => `--fact ${fact}=${factText(value)}`),
    `--at ${new Date(at).toISOString()}`,
  ].join(' ')
/** Text that would read as a number or truth value is written as JSON. */
const factText = (value: Asked['facts'][string]): string => (typeof value === 'string' && typeof factOf(value) === 'string' ? value : JSON.stringify(value))
const withTime = ({ example, ...region }: Difference['regions'][number]): object => ({
  ...region,
  example: { ...example, at: new Date(example.at).toISOString() },
})

/** Says how a request is decided, and what stopped the rules that could have decided otherwise. */
export function explainRequest({
  file,
  json,
  fact,
  at,
  notAdmitted,
  ...ask
}: {
  readonly file: string
  readonly caller: string
  readonly operation: string
  readonly address?: string
  readonly listener?: string
  readonly strength?: string
  readonly notAdmitted?: boolean
  readonly usesKey?: boolean
  readonly fact: readonly string[]
  readonly at?: string
} & Printed): void {
  const loaded = load(file)
  const facts = Object.fromEntries(fact.map(factOption))
  const test = parseTestAsk({ ...ask, facts, ...(at === undefined ? {} : { at }), ...(notAdmitted === true ? { admitted: false } : {}) })
  if (test.faults !== undefined) throw new CliError(test.faults.join('\n'), EXIT.unreadable)
  if (!OPERATION_LIST.some(({ name }) => name === ask.operation)) throw new CliError(`no operation is named ${ask.operation}`, EXIT.unreadable)
  let told: Explanation
  try {
    told = explainer(loaded.resolved, loaded.decide)(askedBy({ ask: test.ask }, timeOf(at)))
  } catch (error) {
    throw new CliError(`it cannot be decided, so the answer is no: ${error instanceof Error ? error.message : String(error)}`, EXIT.unreadable)
  }
  if (json === true) print(told)
  else console.log(describeExplanation(told))
}

export function describeExplanation({ effect, rule, reason, claims, zones, chain, nearMisses, more }: Explanation): string {
  return [
    `${effect} by ${rule}`,
    `  ${reason}`,
    `  zones: ${zones.join(', ') || 'none'}; chain: ${chain ?? 'none'}`,
    ...(claims === undefined ? [] : [`  claims: ${JSON.stringify(claims)}`]),
    ...(nearMisses.length === 0 ? [] : ['  near misses, the nearest first:']),
    ...nearMisses.map(
      (miss) =>
        `    ${miss.rule} (${miss.effect}): ${miss.dimension}: found ${miss.found}, wanted ${miss.wanted}${miss.stops > 1 ? ` (and ${String(miss.stops - 1)} more)` : ''}`,
    ),
    ...(more > 0 ? [`    and ${String(more)} more`] : []),
  ].join('\n')
}

function load(file: string): LoadedPolicy {
  let text: string
  try {
    text = readFileSync(file, 'utf8')
  } catch (error) {
    throw new CliError(`${file}: ${error instanceof Error ? error.message : String(error)}`, EXIT.unreadable)
  }
  return compileText(file, text)
}

function compileText(file: string, text: string): LoadedPolicy {
  try {
    return compilePolicyText(text, OPERATION_LIST)
  } catch (error) {
    if (!(error instanceof PolicyError)) throw error
    throw new CliError(`${file} cannot be used:\n${error.faults.map((fault) => `  ${formatFault(fault)}`).join('\n')}`, EXIT.unreadable)
  }
}

const testsOf = ({ policy, resolved, decide }: LoadedPolicy, now: number): FailedTest[] => runTests(policy, { resolved, decide, now })

const tell = (file: string, faults: PolicyError['faults']): void => {
  for (const fault of faults) console.log(`${file}: ${formatFault(fault)}`)
}

const print = (value: object): void => console.log(JSON.stringify(value, null, 2))

function timeOf(at: string | undefined): number {
  const time = at === undefined ? Date.now() : Date.parse(at)
  if (Number.isNaN(time)) throw new CliError(`--at: found ${JSON.stringify(at)}, expected a time (RFC 3339)`, EXIT.unreadable)
  return time
}

/** `owner=$caller`, `cards=5`, `label="5"`. Numbers, true and false are read as such. */
function factOption(text: string): [string, string | number | boolean] {
  const [name, ...rest] = text.split('=')
  if (name === undefined || name === '' || rest.length === 0) throw new CliError(`--fact: found ${JSON.stringify(text)}, expected name=value`, EXIT.unreadable)
  return [name, factOf(rest.join('='))]
}

function factOf(text: string): string | number | boolean {
  try {
    const value: unknown = JSON.parse(text)
    return typeof value === 'string' || typeof value === 'number' || typeof value === 'boolean' ? value : text
  } catch {
    return text
  }
}
