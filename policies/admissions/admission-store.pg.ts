import type { Row, RowSealer } from '../../core/row.ts'
import { assertWritten, openRecords, sealRow } from '../../core/sealed-records.ts'
import { pgSealedTable } from '../../core/sealed-table.pg.ts'
import type { SealedTable } from '../../core/sealed-table.ts'
import { type Sql, sqlOf, type Tx } from '../../core/tx.ts'
import { type Admission, admissionRow } from './admission.ts'
import type { AdmissionPage, AdmissionStore } from './admission-store.ts'

interface AdmissionColumns {
  caller_id: string
  version: number
  subject: string
  organisation: string
  licence_number: string
  licence_sha256: Uint8Array
  user_name: string
  user_phone: string
  user_mail: string
  responsible_name: string
  responsible_phone: string
  responsible_mail: string
  assessment: string
  report_sha256: Uint8Array
  expires_at: Date
  state: Admission['state']
  change: Admission['change']
  reason: string | null
  changed_by: string
  changed_at: Date
  salt: Uint8Array
  mac: Uint8Array
}

const COLUMNS = `caller_id, version, subject, organisation, licence_number, licence_sha256, user_name, user_phone, user_mail, responsible_name, responsible_phone,
  responsible_mail, assessment, report_sha256, expires_at, state, change, reason, changed_by, changed_at, salt, mac`
const SELECT = `SELECT ${COLUMNS} FROM admissions`

export class PgAdmissionStore implements AdmissionStore {
  readonly #sql: Sql
  readonly #sealer: RowSealer

  constructor({ sql, sealer }: { readonly sql: Sql; readonly sealer: RowSealer }) {
    this.#sql = sql
    this.#sealer = sealer
  }

  async find(callerId: string): Promise<Admission | undefined> {
    return (await this.#read(`${SELECT} WHERE caller_id = $1 ORDER BY version DESC LIMIT 1`, [callerId]))[0]
  }

  history(callerId: string, { before, limit }: { readonly before?: number; readonly limit: number }): Promise<Admission[]> {
    return this.#read(`${SELECT} WHERE caller_id = $1 AND ($2::int IS NULL OR version < $2) ORDER BY version DESC LIMIT $3`, [callerId, before ?? null, limit])
  }

  list({ expiresBefore, after, limit }: AdmissionPage): Promise<Admission[]> {
    return this.#read(
      `${SELECT} a WHERE NOT EXISTS (SELECT FROM admissions n WHERE n.caller_id = a.caller_id AND n.version > a.version)
         AND ($1::timestamptz IS NULL OR expires_at < $1) AND ($2::text IS NULL OR subject > (SELECT subject FROM admissions WHERE caller_id = $2 AND version = 1))
       ORDER BY subject LIMIT $3`,
      [expiresBefore ?? null, after ?? null, limit],
    )
  }

  async insert(tx: Tx, a: Admission): Promise<Row> {
    const row = admissionRow(a)
    const written = await sqlOf(tx).query(
      `INSERT INTO admissions (${COLUMNS})
       VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22) ON CONFLICT DO NOTHING RETURNING 1`,
      [
        ...[a.callerId, a.version, a.subject, a.organisation.name, a.organisation.licenceNumber, a.organisation.licenceSha256],
        ...[a.user.name, a.user.phone, a.user.mail, a.responsible.name, a.responsible.phone, a.responsible.mail],
        ...[a.assessment.reference, a.assessment.reportSha256, a.assessment.expiresAt, a.state, a.change, a.reason ?? null],
        ...[a.changedBy, a.changedAt, a.salt, await sealRow(this.#sealer, row)],
      ],
    )
    assertWritten(written, 'admission')
    return row
  }

  async #read(text: string, values: readonly unknown[]): Promise<Admission[]> {
    return openRecords(this.#sealer, await this.#sql.query<AdmissionColumns>(text, values), toAdmission, admissionRow)
  }
}

const toAdmission = (row: AdmissionColumns): Admission => ({
  ...{ callerId: row.caller_id, subject: row.subject },
  organisation: { name: row.organisation, licenceNumber: row.licence_number, licenceSha256: row.licence_sha256 },
  user: { name: row.user_name, phone: row.user_phone, mail: row.user_mail },
  responsible: { name: row.responsible_name, phone: row.responsible_phone, mail: row.responsible_mail },
  assessment: { reference: row.assessment, reportSha256: row.report_sha256, expiresAt: row.expires_at },
  ...{ state: row.state, change: row.change, changedBy: row.changed_by, changedAt: row.changed_at, salt: row.salt, version: row.version },
  ...(row.reason === null ? {} : { reason: row.reason }),
})

export const admissionTable = (sql: Sql): SealedTable =>
  pgSealedTable<AdmissionColumns>(sql, {
    name: 'admissions',
    key: [
      ['caller_id', 'text'],
      ['version', 'int'],
    ],
    columns: COLUMNS,
    keyOf: ({ id, version }) => [id, String(version)],
    toRow: (row) => admissionRow(toAdmission(row)),
  })
