import type { Row, RowSealer, SealedRow } from '../../core/row.ts'
import { assertWritten, openRecords, sealRow } from '../../core/sealed-records.ts'
import { pgSealedTable } from '../../core/sealed-table.pg.ts'
import type { SealedTable } from '../../core/sealed-table.ts'
import { type Sql, sqlOf, type Tx } from '../../core/tx.ts'
import { OTP_ALGORITHM, type OtpRecord, otpRow, type PasswordRecord, passwordRow, type TicketRecord, ticketRow } from './credentials.ts'
import type { CredentialStore } from './credential-store.ts'

interface Columns {
  readonly person_id: string
  readonly version: number
  readonly mac: Uint8Array
}
interface PasswordColumns extends Columns {
  readonly state: PasswordRecord['state']
  readonly salt: Uint8Array
  readonly digest: Uint8Array
  readonly memory_kib: number
  readonly passes: number
  readonly lanes: number
  readonly set_at: Date
}
interface OtpColumns extends Columns {
  readonly state: OtpRecord['state']
  readonly wrapped: Uint8Array
  readonly last_step: string
  readonly recovery: string[]
}
interface TicketColumns extends Columns {
  readonly digest: Uint8Array
  readonly state: TicketRecord['state']
  readonly issued_by: string
  readonly issued_at: Date
  readonly expires_at: Date
}

const PASSWORD = ['state', 'salt', 'digest', 'memory_kib', 'passes', 'lanes', 'set_at']
const OTP = ['state', 'algorithm', 'wrapped', 'last_step', 'recovery']
const TICKET = ['digest', 'state', 'issued_by', 'issued_at', 'expires_at']

const listed = (columns: readonly string[]): string => ['person_id', ...columns, 'version', 'mac'].join(', ')

/** Inserts version 1, or replaces version - 1. */
const putting = (table: string, columns: readonly string[]): { readonly insert: string; readonly update: string } => {
  const numbered = columns.map((column, at) => `${column} = $${String(at + 2)}`).join(', ')
  const [version, mac] = [columns.length + 2, columns.length + 3]
  return {
    insert: `INSERT INTO ${table} (${listed(columns)}) VALUES (${Array.from({ length: mac }, (_, at) => `$${String(at + 1)}`).join(', ')})
      ON CONFLICT (person_id) DO NOTHING RETURNING person_id`,
    update: `UPDATE ${table} SET ${numbered}, version = $${String(version)}, mac = $${String(mac)}
      WHERE person_id = $1 AND version = $${String(version)} - 1 RETURNING person_id`,
  }
}
const PUT_PASSWORD = putting('person_passwords', PASSWORD)
const PUT_OTP = putting('person_otps', OTP)
const PUT_TICKET = putting('person_tickets', TICKET)

export class PgCredentialStore implements CredentialStore {
  readonly #sql: Sql
  readonly #sealer: RowSealer

  constructor({ sql, sealer }: { readonly sql: Sql; readonly sealer: RowSealer }) {
    this.#sql = sql
    this.#sealer = sealer
  }

  async findPassword(personId: string): Promise<PasswordRecord | undefined> {
    return (await this.findPasswords([personId]))[0]
  }

  async findPasswords(personIds: readonly string[]): Promise<PasswordRecord[]> {
    const rows = await this.#sql.query<PasswordColumns>(`SELECT ${listed(PASSWORD)} FROM person_passwords WHERE person_id = ANY($1::text[])`, [personIds])
    return openRecords(this.#sealer, rows, toPassword, passwordRow)
  }

  async findOtp(personId: string): Promise<{ readonly otp: OtpRecord; readonly sealed: SealedRow } | undefined> {
    const rows = await this.#sql.query<OtpColumns>(`SELECT ${listed(OTP)} FROM person_otps WHERE person_id = $1`, [personId])
    const [otp] = await openRecords(this.#sealer, rows, toOtp, otpRow)
    return otp && { otp, sealed: { row: otpRow(otp), mac: rows[0]?.mac ?? new Uint8Array() } }
  }

  findTicket(digest: Uint8Array): Promise<TicketRecord | undefined> {
    return this.#ticket('digest', digest)
  }

  findTicketOf(personId: string): Promise<TicketRecord | undefined> {
    return this.#ticket('person_id', personId)
  }

  putPassword(tx: Tx, r: PasswordRecord): Promise<void> {
    const { memoryKib, passes, lanes } = r.cost
    return this.#put(tx, PUT_PASSWORD, passwordRow(r), [r.state, r.salt, r.digest, memoryKib, passes, lanes, r.setAt])
  }

  putOtp(tx: Tx, r: OtpRecord): Promise<void> {
    return this.#put(tx, PUT_OTP, otpRow(r), [r.state, OTP_ALGORITHM, r.wrapped, r.lastStep, r.recovery])
  }

  putTicket(tx: Tx, r: TicketRecord): Promise<void> {
    return this.#put(tx, PUT_TICKET, ticketRow(r), [r.digest, r.state, r.issuedBy, r.issuedAt, r.expiresAt])
  }

  async #ticket(key: 'digest' | 'person_id', value: unknown): Promise<TicketRecord | undefined> {
    const rows = await this.#sql.query<TicketColumns>(`SELECT ${listed(TICKET)} FROM person_tickets WHERE ${key} = $1`, [value])
    return (await openRecords(this.#sealer, rows, toTicket, ticketRow))[0]
  }

  async #put(tx: Tx, { insert, update }: ReturnType<typeof putting>, row: Row, values: readonly unknown[]): Promise<void> {
    const written = await sqlOf(tx).query(row.version === 1 ? insert : update, [row.id, ...values, row.version, await sealRow(this.#sealer, row)])
    assertWritten(written, 'login of this person')
  }
}

const toPassword = (row: PasswordColumns): PasswordRecord => ({
  ...{ personId: row.person_id, state: row.state, salt: row.salt, digest: row.digest, setAt: row.set_at, version: row.version },
  cost: { memoryKib: row.memory_kib, passes: row.passes, lanes: row.lanes },
})

const toOtp = (row: OtpColumns): OtpRecord => ({
  ...{ personId: row.person_id, state: row.state, wrapped: row.wrapped, lastStep: Number(row.last_step), recovery: row.recovery, version: row.version },
})

const toTicket = (row: TicketColumns): TicketRecord => ({
  ...{ personId: row.person_id, digest: row.digest, state: row.state, version: row.version },
  ...{ issuedBy: row.issued_by, issuedAt: row.issued_at, expiresAt: row.expires_at },
})

export const credentialTables = (sql: Sql): readonly SealedTable[] => [
  pgSealedTable<PasswordColumns>(sql, {
    ...{ name: 'person_passwords', key: [['person_id', 'text']], columns: listed(PASSWORD) },
    toRow: (row) => passwordRow(toPassword(row)),
  }),
  pgSealedTable<OtpColumns>(sql, {
    ...{ name: 'person_otps', key: [['person_id', 'text']], columns: listed(OTP), holdsKeys: true },
    toRow: (row) => otpRow(toOtp(row)),
  }),
  pgSealedTable<TicketColumns>(sql, {
    ...{ name: 'person_tickets', key: [['person_id', 'text']], columns: listed(TICKET) },
    toRow: (row) => ticketRow(toTicket(row)),
  }),
]
