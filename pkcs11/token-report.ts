import type { CapabilityName, Need } from './capabilities.ts'
import type { ProbeName } from './probe-names.ts'
import type { TokenFacts } from './token.ts'

/** One operation of capabilities.ts, tried. */
export interface OperationReport {
  readonly name: CapabilityName
  readonly title: string
  readonly use: string
  readonly need: Need
  /** What it goes by, and whether the token lists it. A token may do what it does not list, and the other way round. */
  readonly mechanisms: readonly { readonly name: string; readonly number: number; readonly listed: boolean }[]
  /** `no`: refused, or done wrongly. */
  readonly result: 'yes' | 'no' | 'not tried'
  /** Why not; of what was done, which of several ways. */
  readonly remark?: string
  /** The token did it, and the result was wrong. */
  readonly wrong: boolean
}

/** One probe of probe.ts. */
export interface ProbeReport {
  readonly name: ProbeName
  readonly refuses: string
  readonly otherwise: string
  readonly result: 'enforced' | 'not enforced'
  /** Why it could not be probed. */
  readonly remark?: string
}

/** What a token says of itself, and what it does. */
export interface TokenReport {
  readonly modulePath: string
  readonly facts: TokenFacts
  /** Every mechanism that the token lists. */
  readonly mechanisms: readonly number[]
  readonly operations: readonly OperationReport[]
  readonly probes: readonly ProbeReport[]
  /** How long the trials took, in milliseconds. */
  readonly tookMs: number
}

/** Whether Gridseal can use it whole: all that is needed works, nothing is wrong, every probe holds. */
export const isFit = ({ operations, probes }: Pick<TokenReport, 'operations' | 'probes'>): boolean =>
  probes.every(({ result }) => result === 'enforced') && operations.every(({ result, need, wrong }) => result !== 'no' || (need === 'replaced' && !wrong))
