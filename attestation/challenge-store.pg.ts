import { batched } from '../core/batch.ts'
import { fromHex, hex } from '../core/bytes.ts'
import { Problem } from '../core/problem.ts'
import type { RowSealer } from '../core/row.ts'
import { type Sql, sqlOf, type Tx } from '../core/tx.ts'
import { type Challenge, challengeRow, type Method, spent } from './challenge.ts'
import { type ChallengeStore, MOST_PURGED } from './challenge-store.ts'
import { openRecords, sealRow } from '../core/sealed-records.ts'

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

export class PgChallengeStore implements ChallengeStore {
  readonly #sealer: RowSealer
  /** By the nonce, hex. */
  readonly #read: (nonce: string) => Promise<NonceColumns | undefined>

  constructor({ sql, sealer }: { readonly sql: Sql; readonly sealer: RowSealer }) {
    this.#sealer = sealer
    this.#read = batched(async (nonces: string[]) => {
      const rows = await sql.query<NonceColumns>(`SELECT ${COLUMNS} FROM attestation_nonces WHERE nonce = ANY($1)`, [nonces.map(fromHex)])
      return new Map(rows.map((row) => [hex(row.nonce), row]))
    })
  }

  async find(nonce: Uint8Array): Promise<Challenge | undefined> {
    const row = await this.#read(hex(nonce))
    return (await openRecords(this.#sealer, row === undefined ? [] : [row], toChallenge, challengeRow))[0]
  }

  async insert(tx: Tx, c: Challenge): Promise<void> {
    await sqlOf(tx).query(`INSERT INTO attestation_nonces (${COLUMNS}) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)`, [
      ...[c.nonce, c.salt, c.iccid, c.method, c.caller, c.issuedAt, c.expiresAt, c.version, await sealRow(this.#sealer, challengeRow(c))],
    ])
  }

  async spend(tx: Tx, challenge: Challenge): Promise<void> {
    const mac = await sealRow(this.#sealer, challengeRow(spent(challenge)))
    const written = await sqlOf(tx).query(
      'UPDATE attestation_nonces SET version = 2, mac = $2 WHERE nonce = $1 AND version = 1 AND expires_at > clock_timestamp() RETURNING 1',
      [challenge.nonce, mac],
    )
    if (written.length === 1) return
    const [row] = await sqlOf(tx).query<{ version: number }>('SELECT version FROM attestation_nonces WHERE nonce = $1', [challenge.nonce])
    throw new Problem('conflict', row?.version === 1 ? ENDED : SPENT)
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

const ENDED = 'The challenge has ended: it lives 150 seconds. Ask for a new one.'
const SPENT = 'The challenge was answered already, and counts once, right or wrong. Ask for a new one.'

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
