import { hex, sha256, utf8 } from '../core/bytes.ts'
import { newOperationId, operationId, type OperationId } from '../core/ids.ts'
import { digestRow, type RowDigest, type RowSealer } from '../core/row.ts'
import type { Sql } from '../core/tx.ts'
import { adoptionRow, type CheckpointKey, PendingBackup, type TokenAdoption, type TokenBackup } from '../pkcs11/ceremonies.ts'
import { PgKeyBackupStore } from '../pkcs11/key-backup-store.pg.ts'
import type { PgRootKeyStore } from '../pkcs11/root-key-store.pg.ts'
import { type AuditFeature, type CheckpointAlgorithm, type LogKey, logKey } from '../policies/audit/index.ts'
import { systemCaller } from '../policies/caller.ts'
import type { Database } from './database.ts'

/** What ceremonies of the command line left in the database, and what the service makes of it. */

type EventFacts = Readonly<Record<string, string | number>>

/** What may be noted without a MAC. Who owns the database can add or take such notes: they decide nothing. */
type NotedOperation = 'system.token-backed-up' | 'system.token-backup-exported' | 'system.root-keys-added'
const NOTED: readonly string[] = ['system.token-backed-up', 'system.token-backup-exported', 'system.root-keys-added'] satisfies NotedOperation[]

/** The adoptions of the database, each with the token's MAC. Throws `integrity-failed`. */
export async function loadAdoptions(store: PgRootKeyStore, sealer: RowSealer): Promise<TokenAdoption[]> {
  const sealed = await store.adoptions()
  if (sealed.length > 0) await sealer.assertRows(sealed.map(({ adoption, mac }) => ({ row: adoptionRow(adoption), mac })))
  return sealed.map(({ adoption }) => adoption)
}

const algorithmOf = ({ algorithm }: CheckpointKey): CheckpointAlgorithm => (algorithm === 'ed25519' ? 'ed25519' : 'ecdsa-p256')

/** The keys that signed checkpoints before the token's. */
export const replacedKeys = (
  adoptions: readonly TokenAdoption[],
): { readonly algorithm: CheckpointAlgorithm; readonly publicKey: Uint8Array; readonly lastSize: number }[] =>
  adoptions.map(({ oldKey, logSize }) => ({ algorithm: algorithmOf(oldKey), publicKey: oldKey.publicKey, lastSize: logSize }))

export const logKeyOf = (origin: string, key: CheckpointKey): LogKey => logKey(origin, algorithmOf(key), key.publicKey)

/** In C2SP note form. */
export const verifierKey = (origin: string, key: CheckpointKey): string => logKeyOf(origin, key).vkey

/**
 * Backups that a ceremony left in the data folder. Order: their MACs are checked, the rows and the note for the log are committed, then the file is removed.
 * A crash between is done again. Throws `integrity-failed` on a file that is not this token's.
 */
export async function recordPendingBackup({ data, sql, sealer }: { readonly data: string; readonly sql: Sql; readonly sealer: RowSealer }): Promise<void> {
  const file = new PendingBackup(data)
  const backup = file.read()
  if (backup === undefined) return
  await new PgKeyBackupStore(sql).record(backup, sealer)
  await noteCeremony(sql, { id: idOf(backup), operation: 'system.token-backed-up', facts: backupFacts(backup) })
  file.remove()
}

/** Always the same for a KEK and its recipient. */
function idOf({ kek }: TokenBackup): OperationId {
  const digest = hex(sha256(utf8('gridseal-token-backed-up-v1'), kek.mac))
  return operationId([digest.slice(0, 8), digest.slice(8, 12), `8${digest.slice(13, 16)}`, `8${digest.slice(17, 20)}`, digest.slice(20, 32)].join('-'))
}

export const backupFacts = ({ kek, keys }: TokenBackup): EventFacts => ({
  token: kek.backup.tokenSerial,
  kek: hex(kek.backup.kek),
  recipient: hex(kek.backup.recipient),
  keys: keys.length,
})

/** What a ceremony did, for the log: the service puts it there, at its start or within a minute. */
export async function noteCeremony(
  sql: Sql,
  { id = newOperationId(), operation, facts }: { readonly id?: OperationId; readonly operation: NotedOperation; readonly facts: EventFacts },
): Promise<void> {
  await sql.query('INSERT INTO token_ceremonies (operation_id, operation, facts) VALUES ($1, $2, $3::jsonb) ON CONFLICT (operation_id) DO NOTHING', [
    ...[id, operation, JSON.stringify(facts)],
  ])
}

interface Held {
  readonly id: OperationId
  readonly operation: string
  readonly facts: EventFacts
  /** What it left in the database, of what the log has not named. */
  readonly rows: readonly RowDigest[]
}

/**
 * Ceremonies that the log does not have yet, as events: each once, whatever crashes, because the log is sequenced before it is looked at, and one process
 * at a time does this.
 */
export async function logCeremonies({
  audit,
  database,
  adoptions,
}: {
  readonly audit: AuditFeature
  readonly database: Database
  readonly adoptions: readonly TokenAdoption[]
}): Promise<void> {
  const held = await heldCeremonies(database.sql, audit.key.name, adoptions)
  if ((await unlogged(database.sql, held)).length === 0) return
  const lock = await database.connect()
  try {
    await lock.query(`SELECT pg_advisory_lock(hashtext('gridseal.ceremonies'))`)
    await audit.flush()
    for (const { id, operation, facts, rows } of await unlogged(database.sql, held)) {
      await audit.log.append({ kind: 'event', id, operation, caller: systemCaller('ceremony'), facts: { public: facts, rows } })
    }
    await audit.flush()
  } finally {
    await lock.end()
  }
}

async function heldCeremonies(sql: Sql, origin: string, adoptions: readonly TokenAdoption[]): Promise<Held[]> {
  const rows = await sql.query<{ operation_id: string; operation: string; facts: EventFacts }>(
    'SELECT operation_id, operation, facts FROM token_ceremonies WHERE operation = ANY($1) ORDER BY held_at',
    [NOTED],
  )
  const adopted = adoptions.map((adoption): Held => {
    const { operationId: id, kind, oldSerial, newSerial, oldKey, newKey, logSize, adoptedAt } = adoption
    const keys = { oldKey: verifierKey(origin, oldKey), newKey: verifierKey(origin, newKey) }
    const facts = { oldToken: oldSerial, newToken: newSerial, ...keys, logSize, adoptedAt }
    return { id, operation: `system.${kind}`, facts, rows: [digestRow(adoptionRow(adoption))] }
  })
  return [...adopted, ...rows.map(({ operation_id, operation, facts }) => ({ id: operationId(operation_id), operation, facts, rows: [] }))]
}

async function unlogged(sql: Sql, held: readonly Held[]): Promise<Held[]> {
  if (held.length === 0) return []
  const rows = await sql.query<{ operation_id: string }>('SELECT operation_id FROM audit_entries WHERE operation_id = ANY($1::uuid[])', [
    held.map(({ id }) => id),
  ])
  const logged = new Set(rows.map(({ operation_id }) => operation_id))
  return held.filter(({ id }) => !logged.has(id))
}
