import { batched } from '../core/batch.ts'
import { fromBase64url, fromHex, hex } from '../core/bytes.ts'
import { Problem } from '../core/problem.ts'
import type { RowSealer } from '../core/row.ts'
import { pgSealedTable } from '../core/sealed-table.pg.ts'
import type { SealedTable } from '../core/sealed-table.ts'
import { type Sql, sqlOf, type Tx } from '../core/tx.ts'
import { type Challenge, challengeId, challengeRow, type Method } from './challenge.ts'
import { type ChallengeStore, hasEnded, MOST_PURGED, type SealedChallenge, spentAlready } from './challenge-store.ts'
import { anyOf } from '../core/kept-plan.pg.ts'
import { losing, openRecords } from '../core/sealed-records.ts'

interface NonceColumns {
  nonce: Uint8Array
  salt: Uint8Array
  iccid: string
  method: Method
  caller: string
  issued_at: Date
  expires_at: Date
  version: 1 | 2
  mac: Uint8Array
}

const COLUMNS = 'nonce, salt, iccid, method, caller, issued_at, expires_at, version, mac'
const INSERT = `INSERT INTO attestation_nonces (${COLUMNS}) SELECT * FROM
  unnest($1::bytea[], $2::bytea[], $3::text[], $4::text[], $5::text[], $6::timestamptz[], $7::timestamptz[], $8::int[], $9::bytea[])`
const SPEND = `UPDATE attestation_nonces AS n SET version = 2, mac = s.mac FROM unnest($1::bytea[], $2::bytea[]) AS s (nonce, mac)
  WHERE n.nonce = s.nonce AND n.version = 1 AND n.expires_at > clock_timestamp() RETURNING n.nonce`
/** Of one: a plan that PostgreSQL keeps. That of a list it makes anew each time. */
const SPEND_ONE = `UPDATE attestation_nonces SET version = 2, mac = $2
  WHERE nonce = $1 AND version = 1 AND expires_at > clock_timestamp() RETURNING nonce`

export class PgChallengeStore implements ChallengeStore {
  readonly #sealer: RowSealer
  /** By the nonce, hex. */
  readonly #read: (nonce: string) => Promise<NonceColumns | undefined>

  constructor({ sql, sealer }: { readonly sql: Sql; readonly sealer: RowSealer }) {
    this.#sealer = sealer
    this.#read = batched(async (nonces: string[]) => {
      const rows = await sql.query<NonceColumns>(`SELECT ${COLUMNS} FROM attestation_nonces WHERE nonce = ${anyOf('bytea')}`, [nonces.map(fromHex)])
      return new Map(rows.map((row) => [hex(row.nonce), row]))
    })
  }

  async find(nonce: Uint8Array): Promise<Challenge | undefined> {
    return (await this.findAll([nonce])).get(challengeId({ nonce }))
  }

  async findAll(nonces: readonly Uint8Array[]): Promise<ReadonlyMap<string, Challenge>> {
    const rows = await Promise.all([...new Set(nonces.map(hex))].map((nonce) => this.#read(nonce)))
    const there = rows.filter((row) => row !== undefined)
    const challenges = await openRecords(this.#sealer, there, toChallenge, challengeRow)
    return new Map(challenges.map((challenge) => [challengeId(challenge), challenge]))
  }

  async seal(challenges: readonly Challenge[]): Promise<SealedChallenge[]> {
    if (challenges.length === 0) return []
    const rows = challenges.map((challenge) => ({ challenge, row: challengeRow(challenge) }))
    const macs = await this.#sealer.macRows(rows.map(({ row }) => row))
    return rows.map((one, at) => {
      const mac = macs[at]
      if (mac === undefined) throw new Problem('hsm-failed', 'The HSM gave no MAC for a record.')
      return { ...one, mac }
    })
  }

  async insert(tx: Tx, sealed: readonly SealedChallenge[]): Promise<void> {
    const column = <Value>(value: (challenge: Challenge) => Value): Value[] => sealed.map(({ challenge }) => value(challenge))
    await sqlOf(tx).query(INSERT, [
      column(({ nonce }) => nonce),
      column(({ salt }) => salt),
      column(({ iccid }) => iccid),
      column(({ method }) => method),
      column(({ caller }) => caller),
      column(({ issuedAt }) => issuedAt),
      column(({ expiresAt }) => expiresAt),
      column(({ version }) => version),
      sealed.map(({ mac }) => mac),
    ])
  }

  async spend(tx: Tx, sealed: readonly SealedChallenge[]): Promise<ReadonlyMap<string, Problem>> {
    if (sealed.length === 0) return new Map()
    // In one order, so that two batches with the same challenges seldom wait for each other; PostgreSQL may still take the rows in another.
    const ordered = [...sealed].sort((a, b) => Buffer.compare(a.challenge.nonce, b.challenge.nonce))
    const nonces = ordered.map(({ challenge }) => challenge.nonce)
    const written = await losing('challenge', this.#spend(tx, ordered))
    if (written.length === sealed.length) return new Map()
    const done = new Set(written.map(({ nonce }) => hex(nonce)))
    const left = nonces.filter((nonce) => !done.has(hex(nonce)))
    const open = await sqlOf(tx).query<{ nonce: Uint8Array }>('SELECT nonce FROM attestation_nonces WHERE nonce = ANY($1) AND version = 1', [left])
    const ended = new Set(open.map(({ nonce }) => hex(nonce)))
    return new Map(left.map((nonce) => [challengeId({ nonce }), ended.has(hex(nonce)) ? hasEnded() : spentAlready()]))
  }

  #spend(tx: Tx, sealed: readonly SealedChallenge[]): Promise<{ nonce: Uint8Array }[]> {
    const [one] = sealed
    if (one !== undefined && sealed.length === 1) return sqlOf(tx).query(SPEND_ONE, [one.challenge.nonce, one.mac])
    return sqlOf(tx).query(SPEND, [sealed.map(({ challenge }) => challenge.nonce), sealed.map(({ mac }) => mac)])
  }

  async purge(tx: Tx): Promise<number> {
    const deleted = await sqlOf(tx).query(
      `DELETE FROM attestation_nonces WHERE nonce IN (
         SELECT nonce FROM attestation_nonces WHERE expires_at < clock_timestamp() - interval '1 day' ORDER BY expires_at LIMIT $1 FOR UPDATE SKIP LOCKED
       ) RETURNING 1`,
      [MOST_PURGED],
    )
    return deleted.length
  }
}

const toChallenge = (row: NonceColumns): Challenge => ({
  nonce: row.nonce,
  salt: row.salt,
  iccid: row.iccid,
  method: row.method,
  caller: row.caller,
  issuedAt: row.issued_at,
  expiresAt: row.expires_at,
  version: row.version,
})

export const challengeTable = (sql: Sql): SealedTable =>
  pgSealedTable<NonceColumns>(sql, {
    name: 'attestation_nonces',
    key: [['nonce', 'bytea']],
    columns: COLUMNS,
    keyOf: ({ id }) => [hex(fromBase64url(id))],
    toRow: (row) => challengeRow(toChallenge(row)),
  })
