import type { FactValue } from '../audit/log.ts'
import type { Caller } from '../caller.ts'
import type { KeyUse } from '../permit.ts'

/** What is put to the policy. */
export interface Asked {
  readonly operation: string
  readonly caller: Caller
  readonly uses: readonly KeyUse[]
  readonly facts: Readonly<Record<string, FactValue>>
}

export interface Decision {
  readonly effect: 'allow' | 'deny'
  /** The rule that matched first, or `default`. */
  readonly rule: string
  /** The policy revision that decided: SHA-256 of its text, hex, first 16 digits. */
  readonly revision: string
  /** For the caller: why, and whom to ask. */
  readonly reason: string
}
