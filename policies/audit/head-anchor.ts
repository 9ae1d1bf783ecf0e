/**
 * A place outside the database where the last signed checkpoint is kept: who sets the database back has to set back each of them too. Trusted only as far as
 * the checkpoint's signature goes.
 */
export interface HeadAnchor {
  /** For people: `the checkpoint file`. */
  readonly name: string
  /** The note, or undefined when there is none yet. */
  read(): Promise<string | undefined>
  /** Whole or not at all. A slow place may keep it for later: what it holds may be older than the last one, never newer. */
  write(note: string): Promise<void>
  /** Writes what it kept for later. Never throws. */
  flush?(): Promise<void>
}
