import { CAPABILITIES, CAPABILITY_NAMES, tryCapability } from './capabilities.ts'
import { classify } from './errors.ts'
import { CKM } from './mechanisms.ts'
import { PROBES, tryProbe } from './probe.ts'
import { PROBE_NAMES, type ProbeName } from './probe-names.ts'
import { findSlots, openModule } from './slots.ts'
import { Token } from './token.ts'
import type { CheckMessage, CheckSettings } from './token-check.ts'
import type { OperationReport, ProbeReport, TokenReport } from './token-report.ts'

/** One check of one token, then the end of the process. It says what it is about to try, so that a module that hangs or crashes tells where. */
const send = (message: CheckMessage): Promise<void> => new Promise((resolve) => void process.send?.(message, () => resolve()))

process.on('disconnect', () => process.exit(1))
process.once('message', (settings: CheckSettings) => void answer(settings).then(() => process.exit(0)))

async function answer(settings: CheckSettings): Promise<void> {
  try {
    await send(await check(settings))
  } catch (error) {
    await send({ kind: 'refused', reason: classify(error).reason })
  }
}

async function check(settings: CheckSettings): Promise<CheckMessage> {
  await send({ kind: 'trying', what: 'loading the module' })
  const module = openModule(settings)
  const found = findSlots(module, settings)
  const [slot] = found
  if (slot === undefined || found.length > 1 || settings.pinSource === undefined) {
    const tokens = findSlots(module, {}).map((other) => Token.openWithoutLogin(other, { writable: false }))
    return { kind: 'tokens', found: found.length, tokens: tokens.map(({ label, serial }) => ({ label, serial })) }
  }
  await send({ kind: 'trying', what: 'the login' })
  const token = Token.openWithoutLogin(slot, { writable: false })
  token.login('user', settings.pinSource)
  return { kind: 'report', report: await tryAll(token, settings.modulePath) }
}

async function tryAll(token: Token, modulePath: string): Promise<TokenReport> {
  const start = performance.now()
  const { facts } = token
  const listed = new Set(token.listMechanisms())
  const operations: OperationReport[] = []
  for (const name of CAPABILITY_NAMES) {
    await send({ kind: 'trying', what: CAPABILITIES[name].title })
    operations.push(report(token, name, listed))
  }
  const probes: ProbeReport[] = []
  for (const name of PROBE_NAMES) {
    await send({ kind: 'trying', what: `the probe ${name}` })
    probes.push(probe(token, name))
  }
  return { modulePath, facts, mechanisms: [...listed], operations, probes, tookMs: Math.round(performance.now() - start) }
}

function report(token: Token, name: keyof typeof CAPABILITIES, listed: ReadonlySet<number>): OperationReport {
  const { title, use, need, mechanisms } = CAPABILITIES[name]
  const outcome = tryCapability(token, name)
  const remark = outcome?.does === 'works' ? outcome.remark : outcome?.reason
  return {
    name,
    title,
    use,
    need,
    mechanisms: mechanisms.map((mechanism) => ({ name: mechanism, number: CKM[mechanism], listed: listed.has(CKM[mechanism]) })),
    result: outcome === undefined ? 'not tried' : outcome.does === 'works' ? 'yes' : 'no',
    ...(remark === undefined ? {} : { remark }),
    wrong: outcome?.does === 'wrong',
  }
}

function probe(token: Token, name: ProbeName): ProbeReport {
  const { refuses, otherwise } = PROBES[name]
  const outcome = tryProbe(token, name)
  return {
    name,
    refuses,
    otherwise,
    result: outcome.enforced ? 'enforced' : 'not enforced',
    ...(outcome.enforced || outcome.reason === undefined ? {} : { remark: outcome.reason }),
  }
}
