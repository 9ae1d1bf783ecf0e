import { operationId, type OperationId } from '../../core/ids.ts'
import { Problem } from '../../core/problem.ts'
import { digestRow, type Row, type RowDigest, type RowSealer, tombstoneOf } from '../../core/row.ts'
import { pgSealedTable } from '../../core/sealed-table.pg.ts'
import type { SealedTable } from '../../core/sealed-table.ts'
import { assertWritten, openRecords, sealRow } from '../../core/sealed-records.ts'
import { type Sql, sqlOf, type Tx } from '../../core/tx.ts'
import type { CallerKind } from '../caller.ts'
import { type Approval, approvalRow, type Hold, holdRow } from './hold.ts'
import { holdInputRow, holdKey, type HoldPage, type HoldStore, type ParkedInput } from './hold-store.ts'

interface HoldColumns {
  id: string
  operation: string
  requester_kind: CallerKind
  requester_name: string
  requester_id: string
  requester_person: string
  digest: Uint8Array
  salt: Uint8Array | null
  facts: string
  rule: string
  revision: string
  approvals: number
  approvers: string[]
  asked_at: Date
  deadline: Date
  state: Hold['state']
  ended_by: string | null
  run_by: string | null
  reason: string | null
  version: number
  mac: Uint8Array
}

interface ApprovalColumns {
  hold_id: string
  person: string
  approver_kind: CallerKind
  approver_name: string
  approver_id: string
  digest: Uint8Array
  at: Date
  mac: Uint8Array
}

interface InputColumns {
  id: string
  algorithm: string
  wrapped: Uint8Array
  version: number
  mac: Uint8Array
}

const INPUT_COLUMNS = 'id, algorithm, wrapped, version, mac'
const APPROVAL_COLUMNS = 'hold_id, person, approver_kind, approver_name, approver_id, digest, at, mac'
const COLUMNS = `id, operation, requester_kind, requester_name, requester_id, requester_person, digest, salt, facts, rule, revision, approvals, approvers,
  asked_at, deadline, state, ended_by, run_by, reason, version, mac`

export class PgHoldStore implements HoldStore {
  readonly #sql: Sql
  readonly #sealer: RowSealer

  constructor({ sql, sealer }: { readonly sql: Sql; readonly sealer: RowSealer }) {
    this.#sql = sql
    this.#sealer = sealer
  }

  async find(id: string): Promise<Hold | undefined> {
    return (await this.#open(await this.#sql.query<HoldColumns>(`SELECT ${COLUMNS} FROM holds WHERE id = $1`, [id])))[0]
  }

  async list({ requesterId, state, before, limit }: HoldPage): Promise<Hold[]> {
    const rows = await this.#sql.query<HoldColumns>(
      `SELECT ${COLUMNS} FROM holds
       WHERE ($1::text IS NULL OR requester_id = $1) AND ($2::text IS NULL OR state = $2) AND ($3::uuid IS NULL OR id < $3) ORDER BY id DESC LIMIT $4`,
      [requesterId ?? null, state ?? null, before ?? null, limit],
    )
    return this.#open(rows)
  }

  async approvals(id: string): Promise<Approval[]> {
    const rows = await this.#sql.query<ApprovalColumns>(`SELECT ${APPROVAL_COLUMNS} FROM hold_approvals WHERE hold_id = $1 ORDER BY at, person`, [id])
    return openRecords(this.#sealer, rows, toApproval, approvalRow)
  }

  async findInput(id: string): Promise<ParkedInput | undefined> {
    const [row] = await this.#sql.query<InputColumns & { parts: Uint8Array[] }>(`SELECT ${INPUT_COLUMNS}, parts FROM hold_inputs WHERE id = $1`, [id])
    if (row === undefined) return undefined
    return { sealed: { row: inputRow(row), mac: row.mac }, parts: row.parts }
  }

  async insert(tx: Tx, h: Hold, { sealed, parts }: ParkedInput): Promise<readonly Row[]> {
    const row = holdRow(h)
    const { requester: by } = h
    await sqlOf(tx).query(
      `INSERT INTO holds (id, operation, requester_kind, requester_name, requester_id, requester_person, digest, salt, facts, rule, revision, approvals, approvers,
         asked_at, deadline, state, version, mac)
       VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18)`,
      [
        ...[h.id, h.operation, by.kind, by.name, by.id, by.person, h.digest, h.salt ?? null, h.facts, h.rule, h.revision, h.approvals, h.of],
        ...[h.askedAt, h.deadline, h.state, h.version, await sealRow(this.#sealer, row)],
      ],
    )
    await sqlOf(tx).query('INSERT INTO hold_inputs (id, algorithm, wrapped, parts, version, mac) VALUES ($1, $2, $3, $4, $5, $6)', [
      ...[h.id, sealed.row.columns['algorithm'], sealed.row.columns['wrapped'], parts, sealed.row.version, sealed.mac],
    ])
    return [row, sealed.row]
  }

  async end(tx: Tx, h: Hold): Promise<readonly RowDigest[]> {
    const row = holdRow(h)
    const written = await sqlOf(tx).query(
      `UPDATE holds SET salt = NULL, state = $2, ended_by = $3, run_by = $4, reason = $5, version = $6, mac = $7
       WHERE id = $1 AND version = $6 - 1 AND state = 'waiting' RETURNING 1`,
      [h.id, h.state, h.endedBy ?? null, h.runBy ?? null, h.reason ?? null, h.version, await sealRow(this.#sealer, row)],
    )
    assertWritten(written, 'held request')
    const inputs = await sqlOf(tx).query<InputColumns>(`DELETE FROM hold_inputs WHERE id = $1 RETURNING ${INPUT_COLUMNS}`, [h.id])
    return [digestRow(row), ...inputs.map((input) => tombstoneOf(inputRow(input)))]
  }

  async approve(tx: Tx, approval: Approval): Promise<Row> {
    const row = approvalRow(approval)
    const { approver } = approval
    // The hold is locked against its end, so that no approval is written behind it.
    const open = await sqlOf(tx).query(`SELECT 1 FROM holds WHERE id = $1 AND state = 'waiting' AND deadline > clock_timestamp() FOR SHARE`, [approval.holdId])
    if (open.length === 0) throw new Problem('conflict', 'The request does not wait any more.')
    const written = await sqlOf(tx).query(
      `INSERT INTO hold_approvals (${APPROVAL_COLUMNS})
       VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT DO NOTHING RETURNING 1`,
      [approval.holdId, approver.person, approver.kind, approver.name, approver.id, approval.digest, approval.at, await sealRow(this.#sealer, row)],
    )
    if (written.length === 0) throw new Problem('conflict', 'You have approved it already.')
    return row
  }

  async overdue(limit: number): Promise<OperationId[]> {
    const rows = await this.#sql.query<{ id: string }>(
      `SELECT id FROM holds WHERE state = 'waiting' AND deadline <= clock_timestamp() ORDER BY deadline LIMIT $1`,
      [limit],
    )
    return rows.map(({ id }) => operationId(id))
  }

  #open(rows: readonly HoldColumns[]): Promise<Hold[]> {
    return openRecords(this.#sealer, rows, toHold, holdRow)
  }
}

const toHold = (row: HoldColumns): Hold => ({
  id: operationId(row.id),
  operation: row.operation,
  requester: { kind: row.requester_kind, name: row.requester_name, id: row.requester_id, person: row.requester_person },
  digest: row.digest,
  ...(row.salt === null ? {} : { salt: row.salt }),
  facts: row.facts,
  rule: row.rule,
  revision: row.revision,
  approvals: row.approvals,
  of: row.approvers,
  askedAt: row.asked_at,
  deadline: row.deadline,
  state: row.state,
  ...(row.ended_by === null ? {} : { endedBy: row.ended_by }),
  ...(row.run_by === null ? {} : { runBy: operationId(row.run_by) }),
  ...(row.reason === null ? {} : { reason: row.reason }),
  version: row.version,
})

const toApproval = (row: ApprovalColumns): Approval => ({
  holdId: operationId(row.hold_id),
  approver: { kind: row.approver_kind, name: row.approver_name, id: row.approver_id, person: row.person },
  digest: row.digest,
  at: row.at,
})

const inputRow = ({ id, algorithm, wrapped, version }: InputColumns): Row => holdInputRow(holdKey(id), version, { algorithm, wrapped })

const UUID_LENGTH = 36

export const holdTables = (sql: Sql): readonly SealedTable[] => [
  pgSealedTable<HoldColumns>(sql, { name: 'holds', key: [['id', 'uuid']], columns: COLUMNS, toRow: (row) => holdRow(toHold(row)) }),
  pgSealedTable<InputColumns>(sql, {
    name: 'hold_inputs',
    key: [['id', 'uuid']],
    columns: INPUT_COLUMNS,
    holdsKeys: true,
    toRow: inputRow,
    keyOf: ({ id }) => [id.slice(holdKey('').length)],
  }),
  pgSealedTable<ApprovalColumns>(sql, {
    name: 'hold_approvals',
    key: [
      ['hold_id', 'uuid'],
      ['person', 'text'],
    ],
    columns: APPROVAL_COLUMNS,
    keyOf: ({ id }) => [id.slice(0, UUID_LENGTH), id.slice(UUID_LENGTH + 1)],
    toRow: (row) => approvalRow(toApproval(row)),
  }),
]
