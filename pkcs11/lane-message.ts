import type { ProblemCode } from '../core/problem.ts'
import type { PinSource } from './pin.ts'
import type { GenerationsInUse } from './root-key-generations.ts'
import type { TokenIdentity } from './root-keys.ts'
import type { PinAsked, PinGiven } from './typed-pins.ts'

/** Which token a child opens, and how. A PIN is not here: the child reads it from where this says. */
export interface TokenSettings {
  /** Absolute path of the PKCS#11 module. */
  readonly modulePath: string
  /** What C_Initialize hands to the module. Default none. */
  readonly libraryParameters?: string
  /** Token label. */
  readonly token?: string
  readonly serial?: string
  /** Where the user's PIN is: a file, `env:` and the name of a variable of the child, or that it is typed. See pin.ts. */
  readonly pinSource: PinSource
}

export interface LaneSettings extends TokenSettings {
  /** How many keys of the database stay unwrapped. */
  readonly cachedKeys: number
  /** Which token with which root keys it must be. Absent: of the first lane, which finds it out. */
  readonly identity?: TokenIdentity
  /** Which generations of the root keys. Absent: those that the token has; where it has several of one, nothing new is made with that. */
  readonly inUse?: GenerationsInUse
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
  /** From the next call on. */
  | { readonly kind: 'use'; readonly inUse: GenerationsInUse }
  | PinGiven
  | { readonly kind: 'calls'; readonly id: number; readonly calls: readonly Call[] }

export type FromLane =
  | { readonly kind: 'ready' }
  /** A sign of life, ten times a second. `made`: session objects that the lane has made so far. */
  | { readonly kind: 'alive'; readonly made: number }
  /** Its last words. `reason`: for the service's own log. */
  | { readonly kind: 'ends'; readonly reason: string }
  | PinAsked
  | { readonly kind: 'answers'; readonly id: number; readonly answers: readonly Answer[] }
