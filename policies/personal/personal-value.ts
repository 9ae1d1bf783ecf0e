import type { PersonalValue, WriterPosition } from '../audit/entry.ts'

/** A personal value that somebody asks about. Without `name` it is looked for under every name that the log has values of. */
export interface Subject {
  /** `iccid`, `userPhone`: as entries name it. */
  readonly name?: string | undefined
  readonly value: string
}

/** What is left of an entry's personal value: itself with its salt, or that it was erased, and by which erasure. */
export type Kept = { readonly kind: 'value'; readonly value: PersonalValue } | { readonly kind: 'erased'; readonly name: string; readonly erasure: string }

export interface KeptOf {
  readonly writer: WriterPosition
  readonly kept: readonly Kept[]
}

/** How much of a subject the log has, and nothing of what it is. */
export interface Tally {
  /** Values: an entry may have several. */
  readonly values: number
  readonly entries: number
  /** Under which names they stand. */
  readonly names: readonly string[]
  /** When the first and the last of their entries were committed; undefined where there is none. */
  readonly earliest: Date | undefined
  readonly latest: Date | undefined
  /** Those of `values` that are too young to be erased. */
  readonly retained: number
}

/** What an erasure deleted. */
export interface Erased {
  readonly values: number
  readonly entries: number
  readonly earliest: Date | undefined
  readonly latest: Date | undefined
  /** SHA-256 over the places of the values, one a line: `slot/epoch/seq name`, in that order. */
  readonly positions: Uint8Array
}
