import { batched } from '../../core/batch.ts'
import { anyOf } from '../../core/kept-plan.pg.ts'
import { Problem } from '../../core/problem.ts'
import type { Row, RowSealer } from '../../core/row.ts'
import { pgSealedTable } from '../../core/sealed-table.pg.ts'
import type { SealedTable } from '../../core/sealed-table.ts'
import { type Sql, sqlOf, type Tx } from '../../core/tx.ts'
import { type CertificateRecord, type CertificateState, certificateRow, type FoundCertificate, type RevocationReason, type SubjectKind } from './certificate.ts'
import type { CertificateStore } from './certificate-store.ts'
import type { AuthorityName, ProfileName } from './profile.ts'

interface Columns {
  readonly serial: string
  readonly version: number
  readonly mac: Uint8Array
  readonly authority: AuthorityName
  readonly profile: ProfileName
  readonly subject_kind: SubjectKind
  readonly subject_id: string
  readonly tbs_sha256: Uint8Array
  readonly der: Uint8Array | null
  readonly fingerprint_sha256: string | null
  readonly not_before: Date
  readonly not_after: Date
  readonly state: CertificateState
  readonly reason: RevocationReason | null
  readonly revoked_at: Date | null
}

const COLUMNS =
  'serial, version, mac, authority, profile, subject_kind, subject_id, tbs_sha256, der, fingerprint_sha256, not_before, not_after, state, reason, revoked_at'
const BY_SERIAL = `select ${COLUMNS} from certificates where serial = ${anyOf('text')}`
const BY_FINGERPRINT = `select ${COLUMNS} from certificates where fingerprint_sha256 = ${anyOf('text')}`
const CURRENT = `select ${COLUMNS} from certificates where subject_kind = $1 and subject_id = $2 and state = 'issued' order by not_after desc, serial limit 1`
const LAST = `select distinct on (subject_id) ${COLUMNS} from certificates
  where subject_kind = $1 and subject_id = ${anyOf('text', 2)} and state <> 'reserved' order by subject_id, not_before desc, state, serial`
const REVOKED = `select serial, revoked_at as "revokedAt" from certificates where authority = $1 and state = 'revoked' and revoked_at >= $2
  order by revoked_at, serial`
const COUNT_REVOKED = `select count(*)::int as count from certificates where authority = $1 and state = 'revoked' and revoked_at >= $2`
const INSERT = `insert into certificates
    (serial, version, mac, authority, profile, subject_kind, subject_id, tbs_sha256, not_before, not_after, state)
  select n.*, 'reserved' from unnest($1::text[], $2::int[], $3::bytea[], $4::text[], $5::text[], $6::text[], $7::text[], $8::bytea[],
    $9::timestamptz[], $10::timestamptz[]) as n`
/** What identifies a certificate never changes, and the service may not change it. */
const REPLACE = `update certificates c set version = n.version, mac = n.mac, state = n.state, der = n.der, fingerprint_sha256 = n.fingerprint_sha256,
    reason = n.reason, revoked_at = n.revoked_at
  from unnest($1::text[], $2::int[], $3::bytea[], $4::text[], $5::bytea[], $6::text[], $7::text[], $8::timestamptz[])
    as n (serial, version, mac, state, der, fingerprint_sha256, reason, revoked_at)
  where c.serial = n.serial and c.version = n.version - 1 returning c.serial`

const UNIQUE_VIOLATION = '23505'

/** {@link CertificateStore} in the table `certificates`. */
export class PgCertificateStore implements CertificateStore {
  readonly #sql: Sql
  readonly #sealer: RowSealer
  readonly findBySerial: (serial: string) => Promise<FoundCertificate | undefined>
  readonly findByFingerprint: (fingerprint: string) => Promise<FoundCertificate | undefined>

  constructor(sql: Sql, sealer: RowSealer) {
    this.#sql = sql
    this.#sealer = sealer
    this.findBySerial = batched(async (serials: string[]) => {
      const rows = await sql.query<Columns>(BY_SERIAL, [serials])
      return new Map(rows.map((row) => [row.serial, found(row)]))
    })
    this.findByFingerprint = batched(async (fingerprints: string[]) => {
      const rows = await sql.query<Columns>(BY_FINGERPRINT, [fingerprints])
      return new Map(rows.map((row) => [row.fingerprint_sha256 ?? '', found(row)]))
    })
  }

  async findCurrent(kind: SubjectKind, subjectId: string): Promise<FoundCertificate | undefined> {
    const [row] = await this.#sql.query<Columns>(CURRENT, [kind, subjectId])
    return row === undefined ? undefined : found(row)
  }

  async findLast(kind: SubjectKind, subjectIds: readonly string[]): Promise<Map<string, FoundCertificate>> {
    const rows = await this.#sql.query<Columns>(LAST, [kind, subjectIds])
    return new Map(rows.map((row) => [row.subject_id, found(row)]))
  }

  listRevoked(authority: AuthorityName, since = new Date(0)): Promise<{ readonly serial: string; readonly revokedAt: Date }[]> {
    return this.#sql.query(REVOKED, [authority, since])
  }

  async countRevoked(authority: AuthorityName, since: Date): Promise<number> {
    const [row] = await this.#sql.query<{ count: number }>(COUNT_REVOKED, [authority, since])
    return row?.count ?? 0
  }

  async reserveCertificates(tx: Tx, certificates: readonly CertificateRecord[]): Promise<Row[]> {
    if (certificates.length === 0) return []
    const rows = certificates.map(certificateRow)
    const macs = await this.#sealer.macRows(rows)
    await run(tx, INSERT, [
      certificates.map(({ serial }) => serial),
      certificates.map(({ version }) => version),
      macs,
      certificates.map(({ authority }) => authority),
      certificates.map(({ profile }) => profile),
      certificates.map(({ subjectKind }) => subjectKind),
      certificates.map(({ subjectId }) => subjectId),
      certificates.map(({ tbsSha256 }) => tbsSha256),
      certificates.map(({ notBefore }) => notBefore),
      certificates.map(({ notAfter }) => notAfter),
    ])
    return rows
  }

  async replaceCertificates(tx: Tx, certificates: readonly CertificateRecord[]): Promise<Row[]> {
    if (certificates.length === 0) return []
    const rows = certificates.map(certificateRow)
    const written = await run(tx, REPLACE, [
      certificates.map(({ serial }) => serial),
      certificates.map(({ version }) => version),
      await this.#sealer.macRows(rows),
      certificates.map(({ state }) => state),
      certificates.map(({ der }) => der ?? null),
      certificates.map(({ fingerprint }) => fingerprint ?? null),
      certificates.map(({ revoked }) => revoked?.reason ?? null),
      certificates.map(({ revoked }) => revoked?.at ?? null),
    ])
    if (written !== certificates.length) throw changedMeanwhile()
    return rows
  }
}

/** How many rows were written. A second certificate with a serial, a fingerprint or (of an authority) a subject is a lost race. */
async function run(tx: Tx, statement: string, values: readonly unknown[]): Promise<number> {
  try {
    return (await sqlOf(tx).query(statement, values)).length
  } catch (error) {
    throw error instanceof Error && 'code' in error && error.code === UNIQUE_VIOLATION ? changedMeanwhile() : error
  }
}

const changedMeanwhile = (): Problem => new Problem('conflict', 'The certificate was changed or issued meanwhile. Read it and ask again.')

function found(columns: Columns): FoundCertificate {
  const { der, fingerprint_sha256: fingerprint, reason, revoked_at: revokedAt } = columns
  const record: CertificateRecord = {
    serial: columns.serial,
    version: columns.version,
    authority: columns.authority,
    profile: columns.profile,
    subjectKind: columns.subject_kind,
    subjectId: columns.subject_id,
    tbsSha256: columns.tbs_sha256,
    notBefore: columns.not_before,
    notAfter: columns.not_after,
    state: columns.state,
    ...(der === null ? {} : { der }),
    ...(fingerprint === null ? {} : { fingerprint }),
    ...(reason === null || revokedAt === null ? {} : { revoked: { at: revokedAt, reason } }),
  }
  return { record, sealed: { row: certificateRow(record), mac: columns.mac } }
}

export const certificateTable = (sql: Sql): SealedTable =>
  pgSealedTable<Columns>(sql, { name: 'certificates', key: [['serial', 'text']], columns: COLUMNS, toRow: (row) => found(row).sealed.row })
