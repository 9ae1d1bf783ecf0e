import { createHash } from 'node:crypto'
import { frame } from '../../core/bytes.ts'
import type { Entry } from '../audit/entry.ts'
import { ROW_RULES } from './row-rules.ts'

/**
 * The last that the log says of a row below an index: with these, and the entries from there on, the tables are compared as with the whole log. Of an entry's personal
 * values the commitments, each as a row; of each writer's epoch its next sequence, as a version.
 */
export interface RowHead {
  /** The table of the row; {@link VALUES}, {@link SEQUENCES}. */
  readonly relation: string
  /** The row's id; `slot/epoch/seq name`; `slot/epoch`. */
  readonly subject: string
  readonly version: number
  /** As the entry has it; the commitment; empty. */
  readonly digest: string
  /** Of the entry, and when it was written, in milliseconds since 1970. */
  readonly index: number
  readonly timeMs: number
}

export const VALUES = 'audit_personal'
export const SEQUENCES = 'audit_sequenced'

/** Rows that are purged by their age need none once they are gone; a week is for a purge that was late. */
const PURGED_MS = 7 * 24 * 3_600_000

/** What the entry is the last to say, until a later one says more. `now`: see {@link ROW_RULES}. */
export function headsIn(entry: Entry, index: number, now: Date): RowHead[] {
  const timeMs = Date.parse(entry.time)
  const { slot, epoch, seq } = entry.writer
  const isPurged = (table: string): boolean => timeMs + (ROW_RULES[table]?.endsAfterMs ?? Number.POSITIVE_INFINITY) + PURGED_MS < now.getTime()
  return [
    ...(entry.rows ?? [])
      .filter(({ table }) => ROW_RULES[table]?.isUnlogged !== true && !isPurged(table))
      .map(({ table, id, version, digest }) => ({ relation: table, subject: id, version, digest, index, timeMs })),
    ...Object.entries(entry.personal ?? {}).map(([name, { commitment }]) => ({
      ...{ relation: VALUES, subject: `${slot}/${epoch}/${seq} ${name}`, version: 1, digest: commitment, index, timeMs },
    })),
    { relation: SEQUENCES, subject: `${slot}/${epoch}`, version: seq + 1, digest: '', index, timeMs },
  ]
}

/** The version where a table keeps them beside each other, else 0: heads of one row that differ in it are all kept. */
export const placeOf = ({ relation, version }: Pick<RowHead, 'relation' | 'version'>): number => (ROW_RULES[relation]?.keepsVersions === true ? version : 0)

/** Of heads of the same row the newest, of the same version the first. In no order. */
export class NewestHeads {
  readonly #heads = new Map<string, RowHead>()

  add(head: RowHead): void {
    const name = `${head.relation}\u0000${head.subject}\u0000${placeOf(head)}`
    const known = this.#heads.get(name)
    if (known === undefined || known.version < head.version) this.#heads.set(name, head)
  }

  get size(): number {
    return this.#heads.size
  }

  take(): RowHead[] {
    const heads = [...this.#heads.values()]
    this.#heads.clear()
    return heads
  }
}

/** SHA-256 over all heads in the order of their relation, subject and place, by bytes. */
export class HeadsDigest {
  readonly #hash = createHash('sha256').update(frame(['gridseal-row-heads-v1']))

  add(head: RowHead): void {
    const { relation, subject, version, digest, index, timeMs } = head
    this.#hash.update(frame([relation, subject, ...[placeOf(head), version].map(String), digest, ...[index, timeMs].map(String)]))
  }

  /** Once. */
  finish(): Uint8Array {
    return this.#hash.digest()
  }
}
