import { batched } from '../core/batch.ts'
import type { RowSealer } from '../core/row.ts'
import { pgSealedTable } from '../core/sealed-table.pg.ts'
import type { SealedTable } from '../core/sealed-table.ts'
import { type Sql, sqlOf, type Tx } from '../core/tx.ts'
import { assertWritten, openRecords, sealRow } from '../core/sealed-records.ts'
import { raisedAbove, type SequenceNumber, sequenceRow } from './sqn.ts'
import type { SqnStore } from './sqn-store.ts'

interface SqnColumns {
  card_id: string
  seq: string
  recoveries: number
  version: number
  mac: Uint8Array
}

export class PgSqnStore implements SqnStore {
  readonly #sealer: RowSealer
  readonly #recoveries: number
  readonly #read: (cardId: string) => Promise<SqnColumns | undefined>

  /** `recoveries`: of the log. Default none. */
  constructor({ sql, sealer, recoveries = 0 }: { readonly sql: Sql; readonly sealer: RowSealer; readonly recoveries?: number }) {
    this.#sealer = sealer
    this.#recoveries = recoveries
    this.#read = batched(async (cardIds: string[]) => {
      const rows = await sql.query<SqnColumns>('SELECT card_id, seq, recoveries, version, mac FROM attestation_sqn WHERE card_id = ANY($1)', [cardIds])
      return new Map(rows.map((row) => [row.card_id, row]))
    })
  }

  async find(cardId: string): Promise<SequenceNumber> {
    const row = await this.#read(cardId)
    return this.#open(cardId, row === undefined ? [] : [row])
  }

  async advance(tx: Tx, next: SequenceNumber): Promise<void> {
    const mac = await sealRow(this.#sealer, sequenceRow(next))
    const written = await sqlOf(tx).query(
      `INSERT INTO attestation_sqn (card_id, seq, recoveries, version, mac) VALUES ($1, $2, $3, $4, $5)
       ON CONFLICT (card_id) DO UPDATE SET seq = excluded.seq, recoveries = excluded.recoveries, version = excluded.version, mac = excluded.mac
       WHERE attestation_sqn.version = excluded.version - 1 AND attestation_sqn.seq < excluded.seq RETURNING 1`,
      [next.cardId, next.seq, next.recoveries, next.version, mac],
    )
    assertWritten(written, 'sequence number of the card')
  }

  async raise(tx: Tx, cardId: string, seq: number): Promise<SequenceNumber> {
    const rows = await sqlOf(tx).query<SqnColumns>('SELECT card_id, seq, recoveries, version, mac FROM attestation_sqn WHERE card_id = $1 FOR UPDATE', [cardId])
    const standing = await this.#open(cardId, rows)
    if (standing.seq >= seq) return standing
    const next = { ...standing, seq, version: standing.version + 1 }
    await this.advance(tx, next)
    return next
  }

  async #open(cardId: string, rows: readonly SqnColumns[]): Promise<SequenceNumber> {
    const last = (await openRecords(this.#sealer, rows, toSequenceNumber, sequenceRow))[0] ?? { cardId, seq: 0, recoveries: 0, version: 0 }
    return raisedAbove(this.#recoveries, last)
  }
}

const toSequenceNumber = (row: SqnColumns): SequenceNumber => ({
  cardId: row.card_id,
  seq: Number(row.seq),
  recoveries: row.recoveries,
  version: row.version,
})

export const sequenceTable = (sql: Sql): SealedTable =>
  pgSealedTable<SqnColumns>(sql, {
    name: 'attestation_sqn',
    key: [['card_id', 'text']],
    columns: 'card_id, seq, recoveries, version, mac',
    toRow: (row) => sequenceRow(toSequenceNumber(row)),
  })
