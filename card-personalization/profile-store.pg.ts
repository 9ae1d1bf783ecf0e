import type { KeyId } from '../core/ids.ts'
import { Problem } from '../core/problem.ts'
import { digestRow, type RowDigest, type RowSealer } from '../core/row.ts'
import { pgSealedTable } from '../core/sealed-table.pg.ts'
import type { SealedTable } from '../core/sealed-table.ts'
import { type Sql, sqlOf, type Tx } from '../core/tx.ts'
import { insertKeyBackup } from '../pkcs11/key-backup-store.pg.ts'
import type { ProfileId } from './profile.ts'
import { type EstablishedProfile, masterRow, type NewProfile, operatorKeyRow, type ProfileStore, profileRow } from './profile-store.ts'
import { sealRow } from '../core/sealed-records.ts'

interface JoinedColumns {
  id: ProfileId
  master_id: KeyId
  operator_key_id: KeyId
  established_at: string
  version: number
  mac: Uint8Array
  master_profile: string
  k1: Uint8Array
  kat_kcv: Uint8Array
  master_version: number
  master_mac: Uint8Array
  operator_profile: string
  wrapped: Uint8Array
  operator_version: number
  operator_mac: Uint8Array
}

export class PgProfileStore implements ProfileStore {
  readonly #sql: Sql
  readonly #sealer: RowSealer

  constructor({ sql, sealer }: { readonly sql: Sql; readonly sealer: RowSealer }) {
    this.#sql = sql
    this.#sealer = sealer
  }

  async find(id: ProfileId): Promise<EstablishedProfile | undefined> {
    const [row] = await this.#sql.query<JoinedColumns>(
      `SELECT p.id, p.master_id, p.operator_key_id, p.established_at, p.version, p.mac,
              m.profile AS master_profile, m.k1, m.kat_kcv, m.version AS master_version, m.mac AS master_mac,
              o.profile AS operator_profile, o.wrapped, o.version AS operator_version, o.mac AS operator_mac
       FROM card_profiles p JOIN card_masters m ON m.id = p.master_id JOIN operator_keys o ON o.id = p.operator_key_id WHERE p.id = $1`,
      [id],
    )
    if (row === undefined) return undefined
    const profile = profileRow({
      id: row.id,
      masterId: row.master_id,
      operatorKeyId: row.operator_key_id,
      establishedAt: row.established_at,
      version: row.version,
    })
    await this.#sealer.assertRows([{ row: profile, mac: row.mac }])
    const master = masterRow({ id: row.master_id, profile: row.master_profile, k1: row.k1, katKcv: row.kat_kcv, version: row.master_version })
    const operator = operatorKeyRow({ id: row.operator_key_id, profile: row.operator_profile, wrapped: row.wrapped, version: row.operator_version })
    return {
      id: row.id,
      master: { id: row.master_id, sealed: { row: master, mac: row.master_mac } },
      operatorKey: { id: row.operator_key_id, sealed: { row: operator, mac: row.operator_mac } },
    }
  }

  async insert(tx: Tx, profile: NewProfile): Promise<RowDigest[]> {
    const sql = sqlOf(tx)
    const master = masterRow({ id: profile.masterId, profile: profile.id, k1: profile.k1, katKcv: profile.katKcv, version: 1 })
    const operator = operatorKeyRow({ id: profile.operatorKeyId, profile: profile.id, wrapped: profile.wrappedOperatorKey, version: 1 })
    const row = profileRow({
      id: profile.id,
      masterId: profile.masterId,
      operatorKeyId: profile.operatorKeyId,
      establishedAt: profile.establishedAt,
      version: 1,
    })
    await sql.query('INSERT INTO card_masters (id, profile, k1, kat_kcv, version, mac) VALUES ($1, $2, $3, $4, 1, $5)', [
      ...[profile.masterId, profile.id, profile.k1, profile.katKcv, await sealRow(this.#sealer, master)],
    ])
    await sql.query('INSERT INTO operator_keys (id, profile, algorithm, wrapped, version, mac) VALUES ($1, $2, $3, $4, 1, $5)', [
      ...[profile.operatorKeyId, profile.id, 'aes-128', profile.wrappedOperatorKey, await sealRow(this.#sealer, operator)],
    ])
    const inserted = await sql.query(
      `INSERT INTO card_profiles (id, master_id, operator_key_id, established_at, version, mac) VALUES ($1, $2, $3, $4, 1, $5)
       ON CONFLICT (id) DO NOTHING RETURNING id`,
      [profile.id, profile.masterId, profile.operatorKeyId, profile.establishedAt, await sealRow(this.#sealer, row)],
    )
    if (inserted.length === 0) throw new Problem('conflict', `The profile ${profile.id} was established at the same time.`)
    return [digestRow(master), digestRow(operator), digestRow(row), ...(await insertKeyBackup(tx, this.#sealer, profile.backup))]
  }
}

interface MasterColumns {
  readonly id: KeyId
  readonly profile: string
  readonly k1: Uint8Array
  readonly kat_kcv: Uint8Array
  readonly version: number
}
interface OperatorKeyColumns {
  readonly id: KeyId
  readonly profile: string
  readonly wrapped: Uint8Array
  readonly version: number
}
type ProfileColumns = Pick<JoinedColumns, 'id' | 'master_id' | 'operator_key_id' | 'established_at' | 'version'>

export const profileTables = (sql: Sql): readonly SealedTable[] => [
  pgSealedTable<MasterColumns>(sql, {
    name: 'card_masters',
    key: [['id', 'text']],
    columns: 'id, profile, k1, kat_kcv, version, mac',
    toRow: ({ kat_kcv: katKcv, ...master }) => masterRow({ ...master, katKcv }),
  }),
  pgSealedTable<OperatorKeyColumns>(sql, {
    name: 'operator_keys',
    key: [['id', 'text']],
    columns: 'id, profile, wrapped, version, mac',
    holdsKeys: true,
    toRow: operatorKeyRow,
  }),
  pgSealedTable<ProfileColumns>(sql, {
    name: 'card_profiles',
    key: [['id', 'text']],
    columns: 'id, master_id, operator_key_id, established_at, version, mac',
    toRow: (row) =>
      profileRow({ id: row.id, masterId: row.master_id, operatorKeyId: row.operator_key_id, establishedAt: row.established_at, version: row.version }),
  }),
]
