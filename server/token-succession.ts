import { base64, hex, sha256, utf8 } from '../core/bytes.ts'
import { operationId, type OperationId } from '../core/ids.ts'
import { digestRow, type RowDigest, type RowSealer } from '../core/row.ts'
import type { Sql } from '../core/tx.ts'
import { backupFacts } from '../kms/root-keys/index.ts'
import { adoptionRow, type CheckpointKey, PendingBackup, type TokenAdoption, type TokenBackup } from '../pkcs11/ceremonies.ts'
import { PgKeyBackupStore } from '../pkcs11/key-backup-store.pg.ts'
import type { PgRootKeyStore } from '../pkcs11/root-key-store.pg.ts'
import {
  type AuditFeature,
  type CheckpointAlgorithm,
  LOG_RECOVERED,
  type LogKey,
  logKey,
  type LogRecovery,
  parseLogKey,
  pruneFacts,
  type PruneRecord,
  pruneRow,
  type ReplacedKey,
  recoveryRow,
} from '../policies/audit/index.ts'
import { systemCaller } from '../policies/caller.ts'
import { namedBelow } from '../policies/integrity/index.ts'
import { type EventFacts, loadNotes, noteRow, noteCeremony } from './ceremony-notes.ts'
import { ConfigError } from './config.ts'
import type { Database } from './database.ts'

/** What ceremonies of the command line left in the database, and what the service makes of it. */

/** The adoptions of the database, each with the token's MAC. Throws `integrity-failed`. */
export async function loadAdoptions(store: PgRootKeyStore, sealer: RowSealer): Promise<TokenAdoption[]> {
  const sealed = await store.adoptions()
  if (sealed.length > 0) await sealer.assertRows(sealed.map(({ adoption, mac }) => ({ row: adoptionRow(adoption), mac })))
  return sealed.map(({ adoption }) => adoption)
}

const algorithmOf = ({ algorithm }: CheckpointKey): CheckpointAlgorithm => (algorithm === 'ed25519' ? 'ed25519' : 'ecdsa-p256')

/** What of the log's life the token alone does not tell. */
export interface LogHistory {
  readonly adoptions: readonly TokenAdoption[]
  readonly recoveries: readonly LogRecovery[]
}

/** The origin in force, after so many adoptions. Each recovery has another. `first`: of the settings. Throws a {@link ConfigError} where the log was begun under another. */
export function originAfter(first: string, { recoveries }: Pick<LogHistory, 'recoveries'>, adoptions = Number.POSITIVE_INFINITY): string {
  const begun = recoveries[0] && parseLogKey(recoveries[0].oldKey).name
  if (begun !== undefined && begun !== first) throw new ConfigError(`GRIDSEAL_ORIGIN is ${first}, and the log was begun as ${begun}.`)
  const last = recoveries.findLast((recovery) => recovery.adoptions < adoptions)
  return last === undefined ? first : parseLogKey(last.newKey).name
}

/** The keys that signed checkpoints before the one in force, the oldest first. */
export function replacedKeys(first: string, history: LogHistory): ReplacedKey[] {
  const adopted = history.adoptions.map(({ number, oldKey, logSize }) => ({
    after: number - 0.5,
    replaced: { key: logKeyOf(originAfter(first, history, number), oldKey), lastSize: logSize },
  }))
  const recovered = history.recoveries.map(({ adoptions, oldKey, logSize }) => ({
    after: adoptions,
    replaced: { key: parseLogKey(oldKey), lastSize: logSize },
  }))
  const lostOf = new Map(history.recoveries.map(({ oldKey, lostSize }) => [parseLogKey(oldKey).name, lostSize]))
  return [...adopted, ...recovered]
    .toSorted((a, b) => a.after - b.after)
    .map(({ replaced }) => {
      const lostSize = lostOf.get(replaced.key.name)
      return lostSize === undefined ? replaced : { ...replaced, lostSize }
    })
}

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
  await noteCeremony(sql, sealer, { id: idOf(backup), operation: 'system.token-backed-up', facts: backupFacts(backup) })
  file.remove()
}

/** Always the same for a KEK and its recipient. */
function idOf({ kek }: TokenBackup): OperationId {
  const digest = hex(sha256(utf8('gridseal-token-backed-up-v1'), kek.mac))
  return operationId([digest.slice(0, 8), digest.slice(8, 12), `8${digest.slice(13, 16)}`, `8${digest.slice(17, 20)}`, digest.slice(20, 32)].join('-'))
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
 * at a time does this. Adoptions first, then prunes: a note that was edited keeps nothing but notes out of the log.
 */
export async function logCeremonies({
  audit,
  database,
  sealer,
  origin,
  history,
}: {
  readonly audit: AuditFeature
  readonly database: Database
  readonly sealer: RowSealer
  /** Of the settings. */
  readonly origin: string
  readonly history: LogHistory
}): Promise<void> {
  const log = (held: readonly Held[]): Promise<void> => logHeld(held, { audit, database })
  const adopted = history.adoptions.map((adoption) => ({ after: adoption.number - 0.5, held: heldOf(originAfter(origin, history, adoption.number), adoption) }))
  const recovered = history.recoveries.map((recovery) => ({ after: recovery.adoptions, held: heldRecovery(recovery) }))
  await log([...adopted, ...recovered].toSorted((a, b) => a.after - b.after).map(({ held }) => held))
  await log((await audit.prunes.all()).map(prunedBy))
  const notes = await loadNotes(database.sql, sealer)
  await log(
    notes.map(({ id, operation, facts }) => ({ id, operation, facts: JSON.parse(facts) as EventFacts, rows: [digestRow(noteRow({ id, operation, facts }))] })),
  )
}

async function logHeld(held: readonly Held[], { audit, database }: { readonly audit: AuditFeature; readonly database: Database }): Promise<void> {
  if ((await unlogged(audit, database.sql, held)).length === 0) return
  const lock = await database.connect()
  try {
    await lock.query(`SELECT pg_advisory_lock(hashtext('gridseal.ceremonies'))`)
    await audit.flush()
    for (const { id, operation, facts, rows } of await unlogged(audit, database.sql, held)) {
      await audit.log.append({ kind: 'event', id, operation, caller: systemCaller('ceremony'), facts: { public: facts, rows } })
    }
    await audit.flush()
  } finally {
    await lock.end()
  }
}

/** An adoption, with the decision that it used up or what stood in for one. */
function heldOf(origin: string, adoption: TokenAdoption): Held {
  const { operationId: id, kind, oldSerial, newSerial, oldKey, newKey, logSize, adoptedAt, authorisation } = adoption
  const keys = { oldKey: verifierKey(origin, oldKey), newKey: verifierKey(origin, newKey) }
  return {
    id,
    operation: `system.${kind}`,
    facts: { oldToken: oldSerial, newToken: newSerial, ...keys, logSize, adoptedAt, authorisation: authorisation ?? 'none: both PINs' },
    rows: [digestRow(adoptionRow(adoption))],
  }
}

/** Who keeps the lost entries can show that they were signed: root and sizes are told, and the reason stands in the sealed row, which a person wrote. */
function heldRecovery(recovery: LogRecovery): Held {
  const { operationId: id, oldKey, newKey, logSize, lostSize, lostRoot, floors, recoveredAt } = recovery
  return {
    id,
    operation: LOG_RECOVERED,
    facts: {
      ...{ oldKey, newKey, logSize, lostSize, recoveredAt, crlNumber: floors.crlNumber, iccidRanges: floors.iccids.length, authorisation: 'none: both PINs' },
      ...(lostRoot === undefined ? {} : { lostRoot: base64(lostRoot) }),
    },
    rows: [digestRow(recoveryRow(recovery))],
  }
}

const prunedBy = (prune: PruneRecord): Held => ({
  ...{ id: prune.operationId, operation: 'system.log-pruned', facts: pruneFacts(prune) },
  rows: [digestRow(pruneRow(prune))],
})

/** An event whose entry was pruned is known by the rows that it named. */
async function unlogged({ reader }: Pick<AuditFeature, 'reader'>, sql: Sql, held: readonly Held[]): Promise<Held[]> {
  if (held.length === 0) return []
  const minimumIndex = await reader.minimumIndex()
  const rows = await sql.query<{ operation_id: string }>('SELECT operation_id FROM audit_entries WHERE operation_id = ANY($1::uuid[]) AND index >= $2', [
    held.map(({ id }) => id),
    minimumIndex,
  ])
  const logged = new Set(rows.map(({ operation_id }) => operation_id))
  const left = held.filter(({ id }) => !logged.has(id))
  if (minimumIndex === 0 || left.length === 0) return left
  const pruned = await namedBelow(
    sql,
    minimumIndex,
    left.flatMap((one) => one.rows),
  )
  return left.filter(({ rows: own }) => !own.some(({ table, id }) => pruned.some((one) => one.table === table && one.id === id)))
}
