import { type RowDigest, type RowSealer, tombstoneOf } from '../../core/row.ts'
import { assertWritten, openRecords, sealRow } from '../../core/sealed-records.ts'
import { pgSealedTable } from '../../core/sealed-table.pg.ts'
import type { SealedTable } from '../../core/sealed-table.ts'
import { type Sql, sqlOf, type Tx } from '../../core/tx.ts'
import { type Session, sessionRow, type SessionUse, sessionUseRow } from './session.ts'
import type { SessionStore } from './session-store.ts'

interface SessionColumns {
  readonly id: string
  readonly digest: Uint8Array
  readonly person_id: string
  readonly caller_id: string
  readonly password_version: number
  readonly address: string
  readonly certificate: string | null
  readonly opened_at: Date
  readonly expires_at: Date
  readonly ended_at: Date | null
  readonly ended: NonNullable<Session['end']>['why'] | null
  readonly version: number
  readonly mac: Uint8Array
}
interface UseColumns {
  readonly session_id: string
  readonly used_at: Date
  readonly version: number
  readonly mac: Uint8Array
}

const COLUMNS = 'id, digest, person_id, caller_id, password_version, address, certificate, opened_at, expires_at, ended_at, ended, version, mac'
const SELECT = `SELECT ${COLUMNS} FROM person_sessions`
const USE = 'session_id, used_at, version, mac'

export class PgSessionStore implements SessionStore {
  readonly #sql: Sql
  readonly #sealer: RowSealer

  constructor({ sql, sealer }: { readonly sql: Sql; readonly sealer: RowSealer }) {
    this.#sql = sql
    this.#sealer = sealer
  }

  async findByDigest(digest: Uint8Array): Promise<Session | undefined> {
    return (await this.#read(`${SELECT} WHERE digest = $1`, [digest]))[0]
  }

  async find(id: string): Promise<Session | undefined> {
    return (await this.#read(`${SELECT} WHERE id = $1`, [id]))[0]
  }

  listOf(personId: string, limit: number): Promise<Session[]> {
    return this.#read(`${SELECT} WHERE person_id = $1 ORDER BY opened_at DESC, id LIMIT $2`, [personId, limit])
  }

  async findUses(sessionIds: readonly string[]): Promise<SessionUse[]> {
    const rows = await this.#sql.query<UseColumns>(`SELECT ${USE} FROM person_session_uses WHERE session_id = ANY($1::text[])`, [sessionIds])
    return openRecords(this.#sealer, rows, toUse, sessionUseRow)
  }

  async insert(tx: Tx, s: Session): Promise<void> {
    await sqlOf(tx).query(`INSERT INTO person_sessions (${COLUMNS}) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)`, [
      ...[s.id, s.digest, s.personId, s.callerId, s.passwordVersion, s.address, s.certificate ?? null, s.openedAt, s.expiresAt],
      ...[s.end?.at ?? null, s.end?.why ?? null, s.version, await sealRow(this.#sealer, sessionRow(s))],
    ])
    const use = { sessionId: s.id, usedAt: s.openedAt, version: 1 }
    await sqlOf(tx).query(`INSERT INTO person_session_uses (${USE}) VALUES ($1, $2, $3, $4)`, [
      ...[use.sessionId, use.usedAt, use.version],
      await sealRow(this.#sealer, sessionUseRow(use)),
    ])
  }

  async update(tx: Tx, s: Session): Promise<void> {
    const updated = await sqlOf(tx).query(
      'UPDATE person_sessions SET ended_at = $2, ended = $3, version = $4, mac = $5 WHERE id = $1 AND version = $4 - 1 RETURNING id',
      [s.id, s.end?.at ?? null, s.end?.why ?? null, s.version, await sealRow(this.#sealer, sessionRow(s))],
    )
    assertWritten(updated, 'session')
  }

  async touch(use: SessionUse): Promise<void> {
    await this.#sql.query('UPDATE person_session_uses SET used_at = $2, version = $3, mac = $4 WHERE session_id = $1 AND version = $3 - 1', [
      ...[use.sessionId, use.usedAt, use.version],
      await sealRow(this.#sealer, sessionUseRow(use)),
    ])
  }

  async purge(tx: Tx, most: number): Promise<RowDigest[]> {
    const rows = await sqlOf(tx).query<SessionColumns>(
      `${SELECT} WHERE expires_at < clock_timestamp() - interval '7 days' ORDER BY expires_at LIMIT $1 FOR UPDATE SKIP LOCKED`,
      [most],
    )
    const old = rows.map(({ id }) => id)
    await sqlOf(tx).query('DELETE FROM person_session_uses WHERE session_id = ANY($1)', [old])
    await sqlOf(tx).query('DELETE FROM person_sessions WHERE id = ANY($1)', [old])
    return rows.map((row) => tombstoneOf(sessionRow(toSession(row))))
  }

  async #read(text: string, values: readonly unknown[]): Promise<Session[]> {
    return openRecords(this.#sealer, await this.#sql.query<SessionColumns>(text, values), toSession, sessionRow)
  }
}

const toSession = (row: SessionColumns): Session => ({
  ...{ id: row.id, digest: row.digest, personId: row.person_id, callerId: row.caller_id, passwordVersion: row.password_version, address: row.address },
  ...(row.certificate === null ? {} : { certificate: row.certificate }),
  ...{ openedAt: row.opened_at, expiresAt: row.expires_at, version: row.version },
  ...(row.ended_at === null || row.ended === null ? {} : { end: { at: row.ended_at, why: row.ended } }),
})

const toUse = (row: UseColumns): SessionUse => ({ sessionId: row.session_id, usedAt: row.used_at, version: row.version })

export const sessionTables = (sql: Sql): readonly SealedTable[] => [
  pgSealedTable<SessionColumns>(sql, { name: 'person_sessions', key: [['id', 'text']], columns: COLUMNS, toRow: (row) => sessionRow(toSession(row)) }),
  pgSealedTable<UseColumns>(sql, { name: 'person_session_uses', key: [['session_id', 'text']], columns: USE, toRow: (row) => sessionUseRow(toUse(row)) }),
]
