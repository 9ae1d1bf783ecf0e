import type { Row } from '../../core/row.ts'
import type { RotatedKey } from '../../pkcs11/index.ts'

/**
 * `requested`: another officer is to approve it. `making`: approved, and the ceremony runs, or was cut off and is to be approved once more. `working`: the new
 * generation is current, and everything is brought under it. `closing`: nothing is under the old one, nobody uses it, and it is to be destroyed. `retired`: it was.
 */
export const ROTATION_STATES = ['requested', 'making', 'working', 'closing', 'retired', 'cancelled'] as const
export type RotationState = (typeof ROTATION_STATES)[number]

/** Where a pass stands: before the first row of a table, or after one of its rows. */
export interface Cursor {
  readonly table: string
  /** See SealedTable.page. */
  readonly key: string | undefined
}

/** What is counted of rows. */
export interface RowCounts {
  /** About how many this pass has before it, in all. */
  readonly total: number
  /** Of this pass. */
  readonly seen: number
  /** Of this pass: under the old generation. */
  readonly found: number
  /** Of this pass: of no generation. Someone changed them; they are left as they are. */
  readonly refused: number
  /** The same of the pass before. */
  readonly refusedBefore: number
  /** Of all passes: brought under the new generation. */
  readonly renewed: number
}

/** The replacement of one root key by its next generation. */
export interface Rotation {
  readonly id: string
  readonly key: RotatedKey
  readonly from: number
  readonly to: number
  readonly reason: string
  /** 16 random bytes: the log has a digest of the row, and nobody is to guess the reason from it. */
  readonly salt: Uint8Array
  readonly state: RotationState
  /** URN. */
  readonly requestedBy: string
  readonly requestedAt: Date
  /** URN of who approved or cancelled it. INVARIANT: who approves is another person than who asked. */
  readonly decidedBy?: string
  readonly decidedAt?: Date
  /** Passes over all rows, from 1. INVARIANT: from the second on, every process makes new things with the new generation alone. */
  readonly pass: number
  /** Absent: this pass begins with the first table. */
  readonly cursor?: Cursor
  readonly rows: RowCounts
  /** So many refused rows are given up: who mends them later finds the old key destroyed. */
  readonly accepted: number
  readonly beganAt?: Date
  readonly passBeganAt?: Date
  readonly endedAt?: Date
  readonly version: number
}

export const NO_ROWS: RowCounts = { total: 0, seen: 0, found: 0, refused: 0, refusedBefore: 0, renewed: 0 }

/** What of a rotation is sealed: everything. */
export const rotationRow = (r: Rotation): Row => ({
  table: 'root_key_rotations',
  schema: 1,
  id: r.id,
  version: r.version,
  columns: {
    key: r.key,
    from_generation: r.from,
    to_generation: r.to,
    reason: r.reason,
    salt: r.salt,
    state: r.state,
    requested_by: r.requestedBy,
    requested_at: r.requestedAt.toISOString(),
    decided_by: r.decidedBy,
    decided_at: r.decidedAt?.toISOString(),
    pass: r.pass,
    cursor_table: r.cursor?.table,
    cursor_key: r.cursor?.key,
    rows_total: r.rows.total,
    rows_seen: r.rows.seen,
    rows_found: r.rows.found,
    rows_refused: r.rows.refused,
    rows_refused_before: r.rows.refusedBefore,
    refused_accepted: r.accepted,
    rows_renewed: r.rows.renewed,
    began_at: r.beganAt?.toISOString(),
    pass_began_at: r.passBeganAt?.toISOString(),
    ended_at: r.endedAt?.toISOString(),
  },
})

export const isOpen = ({ state }: Rotation): boolean => state !== 'retired' && state !== 'cancelled'

/** A pass that has no row behind it. */
export const isAtStart = ({ cursor, rows }: Rotation): boolean => cursor === undefined && rows.seen === 0

/** What a page of rows came to. */
export interface PageResult {
  readonly seen: number
  readonly found: number
  readonly refused: number
  readonly renewed: number
  /** Where the next page begins. Absent: the pass is at its end. */
  readonly next?: Cursor
}

/** How many rows of no generation nobody has given up: the old key stays while there are any, since a row that is put back from a backup may need it. */
export const unaccepted = ({ rows, accepted }: Rotation): number => Math.max(rows.refused, rows.refusedBefore) - accepted

/**
 * The rotation after a page. A pass that ends begins the next one, until one that every process had switched before (the second or a later one) has found nothing
 * under the old generation, and no row of no generation but those that were given up: then it is closing. `total`: rows of the next pass.
 */
export function afterPage(rotation: Rotation, page: PageResult, { now, total }: { readonly now: Date; readonly total: number }): Rotation {
  const { rows, version } = rotation
  const counts = {
    ...rows,
    seen: rows.seen + page.seen,
    found: rows.found + page.found,
    refused: rows.refused + page.refused,
    renewed: rows.renewed + page.renewed,
  }
  const { cursor: _, ...standing } = rotation
  if (page.next !== undefined) return { ...standing, rows: counts, cursor: page.next, version: version + 1 }
  if (rotation.pass >= 2 && counts.found === 0 && counts.refused <= rotation.accepted)
    return { ...standing, rows: counts, state: 'closing', version: version + 1 }
  return {
    ...standing,
    pass: rotation.pass + 1,
    passBeganAt: now,
    rows: { total, seen: 0, found: 0, refused: 0, refusedBefore: counts.refused, renewed: counts.renewed },
    version: version + 1,
  }
}
