import type { Sql } from '../../../core/tx.ts'
import type { MinimumIndex } from '../prune/prune-record.ts'
import type { PositionStore } from './position-store.ts'

/** Of one log: positions are of its origin. */
export class PgPositionStore implements PositionStore {
  readonly #sql: Sql
  readonly #origin: string
  readonly #minimumIndex: MinimumIndex

  /** `minimumIndex`: a new receiver begins with the first entry that is there. */
  constructor(sql: Sql, origin: string, minimumIndex: MinimumIndex) {
    this.#sql = sql
    this.#origin = origin
    this.#minimumIndex = minimumIndex
  }

  async find(receiver: string): Promise<{ readonly position: number; readonly movedAt: Date }> {
    await this.#sql.query('INSERT INTO audit_forwarding (origin, receiver, position) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING', [
      ...[this.#origin, receiver, await this.#minimumIndex()],
    ])
    const [row] = await this.#sql.query<{ position: string; moved_at: Date }>(
      'SELECT position, moved_at FROM audit_forwarding WHERE origin = $1 AND receiver = $2',
      [this.#origin, receiver],
    )
    if (row === undefined) throw new Error('a position that was written is not there')
    return { position: Number(row.position), movedAt: row.moved_at }
  }

  async advance(receiver: string, from: number, to: number): Promise<boolean> {
    const rows = await this.#sql.query(
      'UPDATE audit_forwarding SET position = $4, moved_at = clock_timestamp() WHERE origin = $1 AND receiver = $2 AND position = $3 RETURNING position',
      [this.#origin, receiver, from, to],
    )
    return rows.length === 1
  }
}
