import { operationId } from '../../core/ids.ts'
import type { RowSealer } from '../../core/row.ts'
import { openRecords, sealRow } from '../../core/sealed-records.ts'
import { pgSealedTable } from '../../core/sealed-table.pg.ts'
import type { SealedTable } from '../../core/sealed-table.ts'
import { type Sql, sqlOf, type Tx } from '../../core/tx.ts'
import { authorisationRow, type Ceremony, type CeremonyAuthorisation } from './ceremony-authorisation.ts'

interface Columns {
  readonly id: string
  readonly ceremony: Ceremony
  readonly token: string
  readonly before: string | null
  readonly authorised_by: string
  readonly authorised_at: Date
  readonly expires_at: Date
  readonly mac: Uint8Array
}

const COLUMNS = 'id, ceremony, token, before, authorised_by, authorised_at, expires_at, mac'
const UNEXPIRED = `SELECT ${COLUMNS} FROM ceremony_authorisations WHERE expires_at > clock_timestamp() ORDER BY id`
const INSERT = `INSERT INTO ceremony_authorisations (${COLUMNS}, version) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 1)`

/** Authorisations of ceremonies. Trusted for nothing: each row is sealed, and one that was edited is refused with `integrity-failed`. */
export class PgCeremonyAuthorisationStore {
  readonly #sql: Sql
  readonly #sealer: RowSealer

  constructor({ sql, sealer }: { readonly sql: Sql; readonly sealer: RowSealer }) {
    this.#sql = sql
    this.#sealer = sealer
  }

  /** By the database's clock. */
  async unexpired(): Promise<CeremonyAuthorisation[]> {
    return openRecords(this.#sealer, await this.#sql.query<Columns>(UNEXPIRED), toAuthorisation, authorisationRow)
  }

  async insert(tx: Tx, authorisation: CeremonyAuthorisation): Promise<void> {
    const { id, ceremony, token, before = null, authorisedBy, authorisedAt, expiresAt } = authorisation
    const mac = await sealRow(this.#sealer, authorisationRow(authorisation))
    await sqlOf(tx).query(INSERT, [id, ceremony, token, before, authorisedBy, authorisedAt, expiresAt, mac])
  }
}

const toAuthorisation = (row: Columns): CeremonyAuthorisation => ({
  id: operationId(row.id),
  ceremony: row.ceremony,
  token: row.token,
  ...(row.before === null ? {} : { before: Number(row.before) }),
  authorisedBy: row.authorised_by,
  authorisedAt: row.authorised_at,
  expiresAt: row.expires_at,
})

export const authorisationTable = (sql: Sql): SealedTable =>
  pgSealedTable<Columns>(sql, {
    name: 'ceremony_authorisations',
    key: [['id', 'uuid']],
    columns: COLUMNS,
    toRow: (row) => authorisationRow(toAuthorisation(row)),
  })
