import type { Finding } from './finding.ts'

/** A whole pass, as it ended. */
export interface PassRecord {
  readonly startedAt: Date
  readonly endedAt: Date
  /** Entries of the log that it covers: what is younger is compared by itself, and with the next pass. */
  readonly entries: number
  readonly rows: number
  /** Findings of it, old and new. */
  readonly findings: number
}

/** A finding, and since when it is known. */
export interface KnownFinding extends Finding {
  readonly foundAt: Date
}

/**
 * What was found and is still so, and the last pass. Trusted for nothing: who owns the database can empty it, and then finds the same told anew; what was found stands in
 * the log too.
 */
export interface IntegrityStore {
  /** For who prunes the log on the host; the service goes by what the log says ({@link lastLoggedPass}). */
  recordPass(pass: PassRecord): Promise<void>
  /** Those that are still so, the oldest first; at most `limit`. */
  open(limit: number): Promise<KnownFinding[]>
  countOpen(): Promise<number>
  /** Answers those that were not known. */
  note(findings: readonly Finding[]): Promise<Finding[]>
  /** Ends those that were known before this time and are not among these. Answers how many. */
  keepOnly(findings: readonly Finding[], before: Date): Promise<number>
}
