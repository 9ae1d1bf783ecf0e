import type { FactValue } from '../audit/log.ts'
import type { Caller } from '../caller.ts'
import type { KeyUse } from '../permit.ts'

/** What is put to the policy. */
export interface Asked {
  readonly operation: string
  readonly caller: Caller
  readonly uses: readonly KeyUse[]
  readonly facts: Readonly<Record<string, FactValue>>
  /** The time that the decision is for: milliseconds since 1970, UTC. */
  readonly at: number
}

/** A token bucket: `burst` tokens at most, `count` more come every `everyMs`. One request takes one. */
export interface RateClaim {
  /** Requests with the same key share a bucket: the rule, or the rule and the caller. */
  readonly key: string
  readonly count: number
  readonly everyMs: number
  readonly burst: number
}

/** At most `most` in a period: of requests, or of what a fact of theirs sums up to. */
export interface QuotaClaim {
  /** Requests with the same key share a quota. */
  readonly key: string
  readonly amount: number
  readonly most: number
  /** The day, the week's Monday or the month that the request falls into, in the quota's time zone: `2026-11-26`, `2026-11-23`, `2026-11`. */
  readonly period: string
}

/** Approvals that are to be gathered before the operation is done. */
export interface HoldClaim {
  readonly approvals: number
  /** Caller patterns of who may approve: `officer:*`. */
  readonly of: readonly string[]
  readonly withinMs: number
}

/** What is to be settled before the operation is done. Whoever cannot settle a claim refuses. */
export interface Claims {
  readonly rate?: RateClaim
  readonly quota?: QuotaClaim
  readonly hold?: HoldClaim
}

/** Where a request comes from, as the policy sees it. */
export interface Origin {
  readonly zones: readonly string[]
  /** Whether one of them is of the level internet or extranet. */
  readonly isOutside: boolean
}

export interface Decision {
  readonly effect: 'allow' | 'deny' | 'hold'
  /** The rule that matched first, or `default`. */
  readonly rule: string
  /** The policy revision that decided: SHA-256 of its text, hex, first 16 digits. */
  readonly revision: string
  /** For the caller: why, and whom to ask. */
  readonly reason: string
  readonly claims?: Claims
  /** Where the request comes from. Absent where no policy looked. */
  readonly origin?: Origin
  /** Of a rule with `log: full`: what its entries say besides, as public facts. */
  readonly record?: Readonly<Record<string, FactValue>>
}
