/** Cosignatures beside the checkpoints that they are of. Not trusted: a line is verified when it is used. */
export interface CosignatureStore {
  /** The last signed checkpoint, a note. */
  lastCheckpoint(): Promise<string | undefined>
  /** The line of this witness (by its verifier key) over the checkpoint of this size. */
  find(vkey: string, size: number): Promise<string | undefined>
  /** The largest size that this witness cosigned, as far as is known here; 0: none. */
  lastSize(vkey: string, origin: string): Promise<number>
  /** Adds one; a second of the same witness and size changes nothing. */
  record(cosignature: { readonly vkey: string; readonly size: number; readonly line: string }): Promise<void>
  /** The checkpoint of this size with its cosignatures. */
  cosigned(size: number): Promise<CosignedNote | undefined>
  /** Notes that the checkpoint of this size satisfies the policy. */
  markWitnessed(size: number): Promise<void>
  /** The newest so noted, the newest first. */
  witnessed(limit: number): Promise<readonly CosignedNote[]>
}

export interface CosignedNote {
  readonly note: string
  readonly lines: readonly string[]
}
