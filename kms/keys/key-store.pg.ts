import { batched } from '../../core/batch.ts'
import { type KeyId, keyId } from '../../core/ids.ts'
import { Problem } from '../../core/problem.ts'
import type { Row, RowSealer } from '../../core/row.ts'
import { pgSealedTable } from '../../core/sealed-table.pg.ts'
import type { SealedTable } from '../../core/sealed-table.ts'
import { type Sql, sqlOf, type Tx } from '../../core/tx.ts'
import type { KcvMethod } from '../../pkcs11/index.ts'
import { type CallerAlgorithm, type FoundKey, type KeyRecord, keyRow } from './key.ts'
import { type KeyStore, STALE_RESERVATION_MS } from './key-store.ts'
import type { KeyState } from './state.ts'

interface Columns {
  readonly id: string
  readonly version: number
  readonly mac: Uint8Array
  readonly owner: string
  readonly label: string
  readonly algorithm: CallerAlgorithm
  readonly key_version: number
  readonly state: KeyState
  readonly wrapped: Uint8Array | null
  readonly public_key: Uint8Array | null
  readonly kcv_method: KcvMethod | null
  readonly kcv: Uint8Array | null
  readonly created_at: Date
}

const COLUMNS = 'id, version, mac, owner, label, algorithm, key_version, state, wrapped, public_key, kcv_method, kcv, created_at'
const FIND = `select ${COLUMNS} from kms_keys where id = any($1::uuid[])`
const LIST = `select ${COLUMNS} from kms_keys
  where owner = $1 and id > coalesce($2::uuid, '00000000-0000-0000-0000-000000000000') and wrapped is not null order by id limit $3`
const INSERT = `insert into kms_keys (id, version, mac, owner, label, algorithm, key_version, state, created_at)
  values ($1, $2, $3, $4, $5, $6, $7, $8, $9) on conflict do nothing returning id`
const STALE = `select ${COLUMNS} from kms_keys where owner = $1 and label = $2 and state = 'reserved' and created_at <= $3 for update`
/** Id, owner, label and algorithm never change, and the service may not change them. */
const REPLACE = `update kms_keys set version = $2, mac = $3, key_version = $4, state = $5, wrapped = $6, public_key = $7, kcv_method = $8, kcv = $9
  where id = $1 and version = $2 - 1 returning id`

/** {@link KeyStore} in the table `kms_keys`. */
export class PgKeyStore implements KeyStore {
  readonly #sql: Sql
  readonly #sealer: RowSealer
  readonly findKey: (id: KeyId) => Promise<FoundKey | undefined>

  constructor(sql: Sql, sealer: RowSealer) {
    this.#sql = sql
    this.#sealer = sealer
    this.findKey = batched(async (ids: KeyId[]) => {
      const rows = await sql.query<Columns>(FIND, [ids])
      return new Map(rows.map((row) => [keyId(row.id), found(row)]))
    })
  }

  async listKeys(owner: string, { after, limit }: { readonly after?: KeyId; readonly limit: number }): Promise<FoundKey[]> {
    return (await this.#sql.query<Columns>(LIST, [owner, after ?? null, limit])).map(found)
  }

  async reserveKey(tx: Tx, key: KeyRecord): Promise<Row[]> {
    const { id, version, owner, label, algorithm, keyVersion, state, createdAt } = key
    const { row, mac } = await this.#seal(key)
    const insert = () => sqlOf(tx).query(INSERT, [id, version, mac, owner, label, algorithm, keyVersion, state, createdAt])
    if ((await insert()).length === 1) return [row]
    const stale = await this.#destroyStale(tx, key)
    if (stale !== undefined && (await insert()).length === 1) return [stale, row]
    throw new Problem('conflict', `There is a key labelled ${JSON.stringify(label)} of yours already. Take another label.`)
  }

  async #destroyStale(tx: Tx, { owner, label, createdAt }: KeyRecord): Promise<Row | undefined> {
    const [stale] = await sqlOf(tx).query<Columns>(STALE, [owner, label, new Date(createdAt.getTime() - STALE_RESERVATION_MS)])
    if (stale === undefined) return undefined
    const { record, sealed } = found(stale)
    await this.#sealer.assertRows([sealed])
    return this.replaceKey(tx, { ...record, version: record.version + 1, state: 'destroyed' })
  }

  async replaceKey(tx: Tx, key: KeyRecord): Promise<Row> {
    const { id, version, keyVersion, state, wrapped = null, publicKey = null, kcv } = key
    const { row, mac } = await this.#seal(key)
    const written = await sqlOf(tx).query(REPLACE, [id, version, mac, keyVersion, state, wrapped, publicKey, kcv?.method ?? null, kcv?.value ?? null])
    if (written.length !== 1) throw new Problem('conflict', 'The key was changed meanwhile. Read it and ask again.')
    return row
  }

  async #seal(key: KeyRecord): Promise<{ readonly row: Row; readonly mac: Uint8Array | undefined }> {
    const row = keyRow(key)
    const [mac] = await this.#sealer.macRows([row])
    return { row, mac }
  }
}

function found(columns: Columns): FoundKey {
  const { kcv_method: method, kcv } = columns
  const record: KeyRecord = {
    id: keyId(columns.id),
    version: columns.version,
    keyVersion: columns.key_version,
    owner: columns.owner,
    label: columns.label,
    algorithm: columns.algorithm,
    state: columns.state,
    ...(columns.wrapped === null ? {} : { wrapped: columns.wrapped }),
    ...(columns.public_key === null ? {} : { publicKey: columns.public_key }),
    ...(method === null || kcv === null ? {} : { kcv: { method, value: kcv } }),
    createdAt: columns.created_at,
  }
  return { record, sealed: { row: keyRow(record), mac: columns.mac } }
}

export const keyTable = (sql: Sql): SealedTable =>
  pgSealedTable<Columns>(sql, { name: 'kms_keys', key: [['id', 'uuid']], columns: COLUMNS, holdsKeys: true, toRow: (row) => found(row).sealed.row })
