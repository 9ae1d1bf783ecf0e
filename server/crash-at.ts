import { FAULT_POINTS, type FaultPoint, type Faults, noFaults } from '../core/fault-point.ts'

/** Where a test stops the process. */
export interface CrashAt {
  readonly point: FaultPoint
  /** Only when this operation passes the point. Absent: whatever does. */
  readonly operation?: string
  /** The how many-th time, from 1. */
  readonly time: number
}

const FORM = /^([a-z.-]+)(?:@([a-z.-]+))?(?:#([1-9][0-9]{0,5}))?$/

/** Reads `point`, `point@operation` or either with `#time`: `gate.executed@card-personalization.cards.fill#2`. Undefined when it is none of these. */
export function parseCrashAt(text: string): CrashAt | undefined {
  const [, name, operation, time = '1'] = FORM.exec(text) ?? []
  const point = FAULT_POINTS.find((candidate) => candidate === name)
  if (point === undefined || (operation !== undefined && !point.startsWith('gate.'))) return undefined
  return { point, ...(operation === undefined ? {} : { operation }), time: Number(time) }
}

/** Calls `crash` when the place is reached, and does nothing everywhere else. */
export function faultsAt({ point, operation, time }: CrashAt, crash: () => void): Faults {
  let passed = 0
  return (at, by) => {
    if (at !== point || (operation !== undefined && by !== operation)) return
    passed += 1
    if (passed === time) crash()
  }
}

/** For crash tests: the process kills itself (kill -9) at the place that the setting names. */
export function faultsOf({ insecureCrashAt }: { readonly insecureCrashAt?: string | undefined }): Faults {
  const at = insecureCrashAt === undefined ? undefined : parseCrashAt(insecureCrashAt)
  return at === undefined ? noFaults : faultsAt(at, () => process.kill(process.pid, 'SIGKILL'))
}
