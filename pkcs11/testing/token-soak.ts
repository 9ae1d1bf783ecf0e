import { existsSync, readFileSync } from 'node:fs'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { FAULT_KINDS } from './fault-kinds.ts'
import { type FaultToken, faultToken } from './fault-token.ts'
import { inflict, type Recovery, until } from './ordeal.ts'
import { openQuestions, type Questions } from './questions.ts'
import { startTraffic } from './traffic.ts'

export interface SoakOptions {
  /** How many right answers there must be. */
  readonly operations: number
  /** A fault after so many of them. */
  readonly faultEvery: number
  readonly say?: (line: string) => void
}

/** What stands before and after. */
export interface Change {
  readonly first: number
  readonly last: number
}

export interface SoakReport {
  readonly right: number
  readonly refused: number
  /** What was said that was neither right nor a refusal, each once. */
  readonly wrong: readonly string[]
  readonly faults: number
  readonly seconds: number
  /** The longest that one call of the HSM took. */
  readonly slowestMs: number
  readonly longestRecoveryMs: number
  /** What had not recovered, each once. */
  readonly amiss: readonly string[]
  /** Medians of the first and of the last quarter of the faults. */
  readonly heapBytes: Change
  readonly serviceBytes: Change
  readonly laneBytes: Change
  /** Of all lanes. */
  readonly objects: Change
  readonly sessions: Change
  /** Before and after the last tenth of the operations, in which no lane is replaced: what a lane keeps for itself. */
  readonly quiet: { readonly laneBytes: Change; readonly objects: Change }
}

const LANES = 2
const DEADLINE_MS = 1_500
const CALLERS = 32

interface Sample {
  /** Live objects of JavaScript and the buffers that they hold. */
  readonly heapBytes: number
  readonly serviceBytes: number
  /** The largest lane. */
  readonly laneBytes: number
  readonly objects: number
  readonly sessions: number
}

/** Mixed operations from many callers, with a fault of another kind every so often; every answer is verified. On a token of its own. */
export async function soakToken(options: SoakOptions): Promise<SoakReport> {
  const token = await faultToken({ lanes: LANES, deadlineMs: DEADLINE_MS })
  try {
    const questions = await openQuestions(token)
    try {
      return await soak(token, questions, options)
    } finally {
      await questions.close()
    }
  } finally {
    await token.close()
  }
}

export async function soak(token: FaultToken, questions: Questions, { operations, faultEvery, say }: SoakOptions): Promise<SoakReport> {
  const start = performance.now()
  const counts = { right: 0, refused: 0 }
  const [wrong, amiss] = [new Set<string>(), new Set<string>()]
  let [slowestMs, longestRecoveryMs, faults] = [0, 0, 0]
  const traffic = startTraffic(questions.all, {
    callers: CALLERS,
    onOutcome: ({ question: { calls = 1 }, verdict, tookMs, why = '' }) => {
      if (verdict === 'wrong') wrong.add(why)
      else counts[verdict]++
      slowestMs = Math.max(slowestMs, tookMs / calls)
    },
  })
  const answered = (count: number): Promise<boolean> => until(() => counts.right >= count, Number.POSITIVE_INFINITY)
  const samples: Sample[] = []
  const kinds = Object.entries(FAULT_KINDS)
  const quietFrom = Math.floor(operations * 0.9)
  try {
    for (let at = faultEvery; at <= quietFrom; at += faultEvery) {
      await answered(at)
      const [name, kind] = kinds[faults++ % kinds.length] as (typeof kinds)[number]
      const recovered: Recovery = await inflict(token, questions, kind)
      if (recovered.amiss !== '') amiss.add(`${name}: ${recovered.amiss}`)
      longestRecoveryMs = Math.max(longestRecoveryMs, recovered.tookMs)
      samples.push(takeSample(token))
      say?.(
        `${counts.right.toLocaleString('en')} right, ${counts.refused.toLocaleString('en')} refused, ${String(wrong.size)} wrong; ${recovered.tookMs.toFixed(0)} ms after ${name}`,
      )
    }
    await answered(quietFrom)
    const before = takeSample(token)
    await answered(Math.max(operations, counts.right + operations - quietFrom))
    const after = takeSample(token)
    await traffic.stop()
    const quarter = Math.max(1, Math.floor(samples.length / 4))
    const change = (of: (sample: Sample) => number): Change => ({
      first: median(samples.slice(0, quarter).map(of)),
      last: median(samples.slice(-quarter).map(of)),
    })
    return {
      ...counts,
      wrong: [...wrong],
      faults,
      seconds: (performance.now() - start) / 1000,
      slowestMs,
      longestRecoveryMs,
      amiss: [...amiss],
      heapBytes: change((sample) => sample.heapBytes),
      serviceBytes: change((sample) => sample.serviceBytes),
      laneBytes: change((sample) => sample.laneBytes),
      objects: change((sample) => sample.objects),
      sessions: change((sample) => sample.sessions),
      quiet: { laneBytes: { first: before.laneBytes, last: after.laneBytes }, objects: { first: before.objects, last: after.objects } },
    }
  } finally {
    await traffic.stop()
  }
}

function takeSample({ module }: FaultToken): Sample {
  collectGarbage()
  const { heapUsed, external, rss } = process.memoryUsage()
  const uses = module.uses()
  const sum = (numbers: readonly number[]): number => numbers.reduce((total, one) => total + one, 0)
  return {
    heapBytes: heapUsed + external,
    serviceBytes: rss,
    laneBytes: Math.max(0, ...uses.map(({ pid }) => residentBytes(pid))),
    objects: sum(uses.map(({ objects }) => objects)),
    sessions: sum(uses.map(({ sessions }) => sessions)),
  }
}

/** Whoever started this need not have asked for the collector. */
function collectGarbage(): void {
  setFlagsFromString('--expose-gc')
  const collect = runInNewContext('gc') as () => void
  collect()
}

/** 0 where the system does not tell. */
function residentBytes(pid: number): number {
  const file = `/proc/${String(pid)}/status`
  const kilobytes = existsSync(file) ? /^VmRSS:\s+(\d+) kB/m.exec(readFileSync(file, 'utf8'))?.[1] : undefined
  return 1024 * Number(kilobytes ?? 0)
}

const median = (numbers: readonly number[]): number => [...numbers].sort((a, b) => a - b)[Math.floor(numbers.length / 2)] ?? 0
