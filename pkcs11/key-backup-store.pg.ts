import { keyId } from '../core/ids.ts'
import { digestRow, type RowDigest, type RowSealer } from '../core/row.ts'
import { sealRow } from '../core/sealed-records.ts'
import { pgSealedTable } from '../core/sealed-table.pg.ts'
import type { SealedTable } from '../core/sealed-table.ts'
import { type Sql, sqlOf, type Tx } from '../core/tx.ts'
import type { TokenBackup } from './backup-file.ts'
import { isKekBackup, type KekBackup, type KeyBackup, keyBackupRow, type Sealed, type TokenKcv } from './key-backup.ts'
import { SYSTEM_KEYS } from './root-keys.ts'

interface Columns {
  readonly key_id: string
  readonly token_serial: string
  readonly kek: Uint8Array
  readonly recipient: Uint8Array | null
  readonly algorithm: 'aes-256' | 'hmac-sha256' | 'ec-p256'
  readonly wrapped: Uint8Array
  readonly public_key: Uint8Array | null
  readonly kcv_method: TokenKcv['method'] | null
  readonly kcv: Uint8Array | null
  readonly mac: Uint8Array
}

const COLUMNS = 'key_id, token_serial, kek, recipient, algorithm, wrapped, public_key, kcv_method, kcv, mac'
const INSERT = `INSERT INTO token_key_backups (id, ${COLUMNS}) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) ON CONFLICT (id) DO NOTHING`
/** Generations that are not in the token any more. */
const RETIRED = `SELECT key_id FROM root_key_generations WHERE state = 'retired'`

/**
 * Backups of the keys that live in the token. Trusted for nothing: rows are sealed, and a restored token finds every one that was edited. One that was deleted
 * is missed by {@link unsaved}. The service adds and reads, and does nothing else.
 */
export class PgKeyBackupStore {
  readonly #sql: Sql

  constructor(sql: Sql) {
    this.#sql = sql
  }

  /** In the order in which they came. Those of generations that were retired are left out: they stay in the table, for who restores the database of before. */
  async load(): Promise<Sealed<KekBackup | KeyBackup>[]> {
    return (await this.#sql.query<Columns>(`SELECT ${COLUMNS} FROM token_key_backups WHERE key_id NOT IN (${RETIRED}) ORDER BY recorded_at, id`)).map(
      (row) => ({
        backup: toBackup(row),
        mac: row.mac,
      }),
    )
  }

  /** As {@link load}, each MAC checked. Throws `integrity-failed`. */
  async loadChecked(sealer: RowSealer): Promise<Sealed<KekBackup | KeyBackup>[]> {
    const sealed = await this.load()
    if (sealed.length > 0) await sealer.assertRows(sealed.map(({ backup, mac }) => ({ row: keyBackupRow(backup), mac })))
    return sealed
  }

  /** Rows that bear their MACs already, which are checked; those that stand are left as they are. Throws `integrity-failed`. */
  async record({ kek, keys }: TokenBackup, sealer: RowSealer): Promise<void> {
    const backups = [kek, ...keys]
    await sealer.assertRows(backups.map(({ backup, mac }) => ({ row: keyBackupRow(backup), mac })))
    for (const { backup, mac } of backups) await this.#sql.query(INSERT, valuesOf(backup, mac))
  }

  /** Of keys that a ceremony has just made in a token whose backup KEK is known already: they bear its MACs. */
  async add(keys: readonly Sealed<KeyBackup>[]): Promise<void> {
    for (const { backup, mac } of keys) await this.#sql.query(INSERT, valuesOf(backup, mac))
  }

  /** The ids of keys that the database knows to live in the token and has no backup of under this KEK; the checkpoint key is never backed up. */
  async unsaved(kek: Uint8Array): Promise<string[]> {
    const rows = await this.#sql.query<{ id: string }>(
      `SELECT id FROM (SELECT key_id AS id FROM root_keys UNION SELECT key_id FROM root_key_generations UNION SELECT id FROM card_masters UNION SELECT id FROM transport_keys) keys
       WHERE id <> $1 AND id NOT IN (${RETIRED}) AND NOT EXISTS (SELECT FROM token_key_backups b WHERE b.key_id = keys.id AND b.kek = $2) ORDER BY id`,
      [SYSTEM_KEYS.checkpoint, kek],
    )
    return rows.map(({ id }) => id)
  }
}

/** With the row of a key that lives in the token, in its transaction. Nothing where the token has no backup KEK. */
export async function insertKeyBackup(tx: Tx, sealer: RowSealer, backup: KeyBackup | undefined): Promise<RowDigest[]> {
  if (backup === undefined) return []
  const row = keyBackupRow(backup)
  await sqlOf(tx).query(INSERT, valuesOf(backup, await sealRow(sealer, row)))
  return [digestRow(row)]
}

const valuesOf = (backup: KekBackup | KeyBackup, mac: Uint8Array): unknown[] => {
  const { id } = keyBackupRow(backup)
  const { keyId: key, tokenSerial, kek, algorithm, wrapped } = backup
  const recipient = isKekBackup(backup) ? backup.recipient : null
  const publicKey = 'publicKey' in backup ? backup.publicKey : null
  const kcv = 'kcv' in backup ? backup.kcv : undefined
  return [id, key, tokenSerial, kek, recipient, algorithm, wrapped, publicKey, kcv?.method ?? null, kcv?.value ?? null, mac]
}

function toBackup(row: Columns): KekBackup | KeyBackup {
  const common = { keyId: keyId(row.key_id), tokenSerial: row.token_serial, kek: row.kek, wrapped: row.wrapped }
  if (row.recipient !== null) return { ...common, algorithm: 'aes-256', recipient: row.recipient }
  if (row.public_key !== null) return { ...common, algorithm: 'ec-p256', publicKey: row.public_key }
  return {
    ...common,
    algorithm: row.algorithm === 'hmac-sha256' ? row.algorithm : 'aes-256',
    kcv: { method: row.kcv_method ?? 'aes-kwp', value: row.kcv ?? new Uint8Array() },
  }
}

export const keyBackupTables = (sql: Sql): readonly SealedTable[] => [
  pgSealedTable<Columns>(sql, { name: 'token_key_backups', key: [['id', 'text']], columns: COLUMNS, toRow: (row) => keyBackupRow(toBackup(row)) }),
]
