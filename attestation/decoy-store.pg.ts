import type { KeyId } from '../core/ids.ts'
import { Problem } from '../core/problem.ts'
import type { RowSealer } from '../core/row.ts'
import { pgSealedTable } from '../core/sealed-table.pg.ts'
import type { SealedTable } from '../core/sealed-table.ts'
import { type Sql, sqlOf, type Tx } from '../core/tx.ts'
import type { StoredKey } from '../pkcs11/index.ts'
import { type Decoy, decoyRow, type DecoyStore } from './decoy-store.ts'
import { sealRow } from '../core/sealed-records.ts'

interface DecoyColumns {
  readonly id: KeyId
  readonly wrapped: Uint8Array
  readonly version: number
  readonly mac: Uint8Array
}

const COLUMNS = 'id, wrapped, version, mac'

export class PgDecoyStore implements DecoyStore {
  readonly #sql: Sql
  readonly #sealer: RowSealer
  /** Kept once found: it does not change but by a rotation of root keys, and the token checks its MAC at each use. */
  #decoy: StoredKey | undefined

  constructor({ sql, sealer }: { readonly sql: Sql; readonly sealer: RowSealer }) {
    this.#sql = sql
    this.#sealer = sealer
  }

  async find(): Promise<StoredKey | undefined> {
    if (this.#decoy !== undefined) return this.#decoy
    const [row] = await this.#sql.query<DecoyColumns>(`SELECT ${COLUMNS} FROM attestation_decoys`)
    this.#decoy = row && { id: row.id, sealed: { row: decoyRow(row), mac: row.mac } }
    return this.#decoy
  }

  forget(): void {
    this.#decoy = undefined
  }

  async insert(tx: Tx, decoy: Decoy): Promise<void> {
    const inserted = await sqlOf(tx).query(
      `INSERT INTO attestation_decoys (id, algorithm, wrapped, version, mac) VALUES ($1, 'aes-128', $2, $3, $4) ON CONFLICT (singleton) DO NOTHING RETURNING id`,
      [decoy.id, decoy.wrapped, decoy.version, await sealRow(this.#sealer, decoyRow(decoy))],
    )
    if (inserted.length === 0) throw new Problem('conflict', 'The decoy stands already.')
  }
}

export const decoyTable = (sql: Sql): SealedTable =>
  pgSealedTable<DecoyColumns>(sql, { name: 'attestation_decoys', key: [['id', 'text']], columns: COLUMNS, holdsKeys: true, toRow: decoyRow })
