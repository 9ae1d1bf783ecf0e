import type { KeyId } from '../core/ids.ts'
import { Problem } from '../core/problem.ts'
import { digestRow, type Row, type RowDigest, type RowSealer } from '../core/row.ts'
import { pgSealedTable } from '../core/sealed-table.pg.ts'
import type { SealedTable } from '../core/sealed-table.ts'
import { type Sql, sqlOf, type Tx } from '../core/tx.ts'
import type { KcvMethod, StoredKey, TransportKeyMade } from '../pkcs11/index.ts'
import { insertKeyBackup } from '../pkcs11/key-backup-store.pg.ts'
import { openRecords, sealRow } from '../core/sealed-records.ts'
import { rowMacKeyRow, type TransportKey, transportKeyRow } from './transport-key.ts'
import type { TransportKeyStore } from './transport-key-store.ts'

interface TransportKeyColumns {
  id: KeyId
  vendor_id: string
  number: number
  recipient: Uint8Array
  encrypted_key: Uint8Array
  kcv_method: KcvMethod
  kcv: Uint8Array
  mac_key_id: KeyId
  wrapped_mac_key: Uint8Array
  mac_kcv_method: KcvMethod
  mac_kcv: Uint8Array
  made_by: string
  made_at: string
  version: number
  mac: Uint8Array
}

const COLUMNS =
  'id, vendor_id, number, recipient, encrypted_key, kcv_method, kcv, mac_key_id, wrapped_mac_key, mac_kcv_method, mac_kcv, made_by, made_at, version, mac'

interface MacKeyColumns {
  id: KeyId
  transport_key_id: KeyId
  wrapped: Uint8Array
  version: number
  mac: Uint8Array
}

const MAC_KEY_COLUMNS = 'id, transport_key_id, wrapped, version, mac'
const toMacKeyRow = (row: MacKeyColumns): Row => rowMacKeyRow({ id: row.id, transportKeyId: row.transport_key_id, wrapped: row.wrapped, version: row.version })

export class PgTransportKeyStore implements TransportKeyStore {
  readonly #sql: Sql
  readonly #sealer: RowSealer

  constructor({ sql, sealer }: { readonly sql: Sql; readonly sealer: RowSealer }) {
    this.#sql = sql
    this.#sealer = sealer
  }

  async find(id: string): Promise<TransportKey | undefined> {
    return (await this.#open(await this.#sql.query<TransportKeyColumns>(`SELECT ${COLUMNS} FROM transport_keys WHERE id = $1`, [id])))[0]
  }

  async findByNumber(vendorId: string, number: number): Promise<TransportKey | undefined> {
    const rows = await this.#sql.query<TransportKeyColumns>(`SELECT ${COLUMNS} FROM transport_keys WHERE vendor_id = $1 AND number = $2`, [vendorId, number])
    return (await this.#open(rows))[0]
  }

  async nextNumber(vendorId: string): Promise<number> {
    const [row] = await this.#sql.query<{ next: number }>('SELECT coalesce(max(number), 0) + 1 AS next FROM transport_keys WHERE vendor_id = $1', [vendorId])
    return row?.next ?? 1
  }

  async macKeyOf(key: TransportKey): Promise<StoredKey | undefined> {
    const [row] = await this.#sql.query<MacKeyColumns>(`SELECT ${MAC_KEY_COLUMNS} FROM row_mac_keys WHERE id = $1 AND transport_key_id = $2`, [
      key.macKeyId,
      key.id,
    ])
    return row && { id: row.id, sealed: { row: toMacKeyRow(row), mac: row.mac } }
  }

  async insert(tx: Tx, key: TransportKey, { storedMacKey, backup }: Pick<TransportKeyMade, 'storedMacKey' | 'backup'>): Promise<RowDigest[]> {
    const row = transportKeyRow(key)
    const macRow = rowMacKeyRow({ id: key.macKeyId, transportKeyId: key.id, wrapped: storedMacKey, version: 1 })
    const [mac, macMac] = [await sealRow(this.#sealer, row), await sealRow(this.#sealer, macRow)]
    const inserted = await sqlOf(tx).query(
      `INSERT INTO transport_keys (${COLUMNS}) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)
       ON CONFLICT (vendor_id, number) DO NOTHING RETURNING id`,
      [
        ...[key.id, key.vendorId, key.number, key.recipient, key.encryptedKey, key.kcv.method, key.kcv.value, key.macKeyId, key.wrappedMacKey],
        ...[key.macKcv.method, key.macKcv.value, key.madeBy, key.madeAt, key.version, mac],
      ],
    )
    if (inserted.length === 0) throw new Problem('conflict', 'Another transport key of this vendor was made at the same time. Ask again.')
    await sqlOf(tx).query('INSERT INTO row_mac_keys (id, transport_key_id, algorithm, wrapped, version, mac) VALUES ($1, $2, $3, $4, 1, $5)', [
      ...[key.macKeyId, key.id, 'aes-cmac-256', storedMacKey, macMac],
    ])
    return [digestRow(row), digestRow(macRow), ...(await insertKeyBackup(tx, this.#sealer, backup))]
  }

  #open(rows: readonly TransportKeyColumns[]): Promise<TransportKey[]> {
    return openRecords(this.#sealer, rows, toTransportKey, transportKeyRow)
  }
}

const toTransportKey = (row: TransportKeyColumns): TransportKey => ({
  id: row.id,
  vendorId: row.vendor_id,
  number: row.number,
  recipient: row.recipient,
  encryptedKey: row.encrypted_key,
  kcv: { method: row.kcv_method, value: row.kcv },
  macKeyId: row.mac_key_id,
  wrappedMacKey: row.wrapped_mac_key,
  macKcv: { method: row.mac_kcv_method, value: row.mac_kcv },
  madeBy: row.made_by,
  madeAt: row.made_at,
  version: row.version,
})

export const transportKeyTables = (sql: Sql): readonly SealedTable[] => [
  pgSealedTable<TransportKeyColumns>(sql, {
    name: 'transport_keys',
    key: [['id', 'text']],
    columns: COLUMNS,
    toRow: (row) => transportKeyRow(toTransportKey(row)),
  }),
  pgSealedTable<MacKeyColumns>(sql, { name: 'row_mac_keys', key: [['id', 'text']], columns: MAC_KEY_COLUMNS, holdsKeys: true, toRow: toMacKeyRow }),
]
