import { type Change, type SoakReport, soakToken } from '../pkcs11/testing/token-soak.ts'
import { type Report, type Result, result } from './report.ts'

const OPERATIONS = 200_000
const FAULT_EVERY = 2_000
const MEGABYTE = 1 << 20

/**
 * Mixed operations on a token that fails in every way by turns; each answer is verified. The process fails when one was wrong, or when the service did not recover.
 * GRIDSEAL_BENCH_OPERATIONS: another number of operations, with as many faults for each.
 */
export async function benchSoak(say: (line: string) => void): Promise<Report> {
  const operations = Number(process.env['GRIDSEAL_BENCH_OPERATIONS'] ?? OPERATIONS)
  if (!Number.isInteger(operations) || operations < 10 * FAULT_EVERY) throw new RangeError(`a soak has ${String(10 * FAULT_EVERY)} operations or more`)
  const report = await soakToken({ operations, faultEvery: FAULT_EVERY, say })
  if (report.wrong.length + report.amiss.length > 0) process.exitCode = 1
  return { bench: 'token-soak', results: resultsOf(report), notes: notesOf(report) }
}

const resultsOf = (report: SoakReport): Result[] => [
  result({ metric: 'right answers', value: report.right, unit: '' }),
  result({ metric: 'right answers in a second, faults and all', value: report.right / report.seconds, unit: '' }),
  result({ metric: 'kinds of wrong answers', value: report.wrong.length, unit: '' }),
  result({ metric: 'faults without recovery', value: report.amiss.length, unit: '' }),
  result({ metric: 'refused with 503', value: report.refused, unit: '' }),
  result({ metric: 'faults', value: report.faults, unit: '' }),
  result({ metric: 'longest call', value: report.slowestMs, unit: 'ms', goal: 2_100, goalIs: 'at-most' }),
  result({ metric: 'longest recovery', value: report.longestRecoveryMs, unit: 'ms', goal: 5_000, goalIs: 'at-most' }),
  ...memory('heap of the service', report.heapBytes, 8),
  ...memory('memory of the service', report.serviceBytes, 64),
  ...memory('memory of the largest lane', report.laneBytes, 32),
  ...memory('memory of the largest lane, without faults', report.quiet.laneBytes, 48),
  ...count('objects in all lanes', report.objects),
  ...count('objects in all lanes, without faults', report.quiet.objects),
  ...count('sessions', report.sessions),
]

/** `more`: how many megabytes it may have grown. */
const memory = (metric: string, { first, last }: Change, more: number): Result[] => {
  const [before, after] = [first / MEGABYTE, last / MEGABYTE]
  return [result({ metric, value: after, unit: 'MB', limit: before, goal: Math.round(before + more), goalIs: 'at-most' })]
}
const count = (metric: string, { first, last }: Change): Result[] => [result({ metric, value: last, unit: '', limit: first })]

const notesOf = ({ faults, wrong, amiss }: SoakReport): string[] => [
  `Values are medians of the last quarter of ${String(faults)} faults, and limits those of the first; without faults: the end and the beginning of the last tenth of the operations.`,
  'The longest call of one that makes several is its share. Lanes fill their cache of keys again each time they are replaced.',
  'A new lane grows for some 30,000 operations by what V8 takes, and then by what SoftHSM 2.6.1 keeps until its process ends: 190 bytes of every session object.',
  ...wrong.map((why) => `WRONG: ${why}`),
  ...amiss.map((why) => `NOT RECOVERED: ${why}`),
]
