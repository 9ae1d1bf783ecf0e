import type { ProblemCode } from '../core/problem.ts'

/** Which token a child opens, and how. Paths only: a PIN is read by the child, from its file. */
export interface TokenSettings {
  /** Absolute path of the PKCS#11 module. */
  readonly modulePath: string
  /** Token label. */
  readonly token?: string
  readonly serial?: string
  readonly pinFile: string
}

export interface LaneSettings extends TokenSettings {
  /** How many keys of the database stay unwrapped. */
  readonly cachedKeys: number
}

export interface Call {
  readonly verb: string
  readonly args: unknown
}

export type Answer =
  | { readonly ok: true; readonly value: unknown }
  /** `reason` is for the service's own log. */
  | { readonly ok: false; readonly problem: ProblemCode; readonly detail: string; readonly reason: string }

export type ToLane =
  | { readonly kind: 'open'; readonly settings: LaneSettings }
  | { readonly kind: 'calls'; readonly id: number; readonly calls: readonly Call[] }

export type FromLane =
  | { readonly kind: 'ready'; readonly serial: string }
  | { readonly kind: 'refused'; readonly reason: string }
  | { readonly kind: 'answers'; readonly id: number; readonly answers: readonly Answer[] }
