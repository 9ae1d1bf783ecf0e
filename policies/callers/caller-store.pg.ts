import { Problem } from '../../core/problem.ts'
import type { RowSealer } from '../../core/row.ts'
import { pgSealedTable } from '../../core/sealed-table.pg.ts'
import type { SealedTable } from '../../core/sealed-table.ts'
import { type Sql, sqlOf, type Tx } from '../../core/tx.ts'
import { HUMAN_KINDS } from '../people/person.ts'
import { type Bootstrap, bootstrapRow, type CallerStore, type Registration, registrationRow } from './caller-store.ts'

interface CallerRow {
  id: string
  kind: Registration['kind']
  name: string
  state: Registration['state']
  registered_by: string
  registered_at: string
  person_id: string | null
  version: number
  mac: Uint8Array
}

const COLUMNS = 'id, kind, name, state, registered_by, registered_at, person_id, version, mac'
const SELECT = `SELECT ${COLUMNS} FROM callers`

export class PgCallerStore implements CallerStore {
  readonly #sql: Sql
  readonly #sealer: RowSealer

  constructor({ sql, sealer }: { readonly sql: Sql; readonly sealer: RowSealer }) {
    this.#sql = sql
    this.#sealer = sealer
  }

  async find(id: string): Promise<Registration | undefined> {
    return (await this.#checked(await this.#sql.query<CallerRow>(`SELECT ${COLUMNS} FROM callers WHERE id = $1`, [id])))[0]
  }

  async findByName(kind: Registration['kind'], name: string): Promise<Registration | undefined> {
    return (await this.#checked(await this.#sql.query<CallerRow>(`${SELECT} WHERE kind = $1 AND name = $2`, [kind, name])))[0]
  }

  async listOf(personIds: readonly string[]): Promise<Registration[]> {
    return this.#checked(await this.#sql.query<CallerRow>(`${SELECT} WHERE person_id = ANY($1::text[]) ORDER BY kind, name`, [personIds]))
  }

  async listUnowned(): Promise<Registration[]> {
    return this.#checked(await this.#sql.query<CallerRow>(`${SELECT} WHERE person_id IS NULL AND kind = ANY($1::text[]) ORDER BY kind, name`, [HUMAN_KINDS]))
  }

  async list({ after, limit }: { readonly after?: string; readonly limit: number }): Promise<Registration[]> {
    const rows = await this.#sql.query<CallerRow>(
      `SELECT ${COLUMNS} FROM callers WHERE $1::text IS NULL OR (kind, name) > (SELECT kind, name FROM callers WHERE id = $1) ORDER BY kind, name LIMIT $2`,
      [after ?? null, limit],
    )
    return this.#checked(rows)
  }

  async insert(tx: Tx, registration: Registration): Promise<void> {
    const inserted = await sqlOf(tx).query<{ id: string }>(
      `INSERT INTO callers (${COLUMNS}) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT DO NOTHING RETURNING id`,
      await this.#values(registration),
    )
    if (inserted.length > 0) return
    const [taken] = await sqlOf(tx).query('SELECT FROM callers WHERE kind = $1 AND name = $2', [registration.kind, registration.name])
    if (taken === undefined) throw new Problem('conflict', `The person has a registration as ${registration.kind} already. Revoke that one first.`)
    throw new Problem('conflict', `There is a ${registration.kind} named ${registration.name} already. Names are not given twice, not even after a revocation.`)
  }

  async update(tx: Tx, registration: Registration): Promise<void> {
    const updated = await sqlOf(tx).query(
      'UPDATE callers SET state = $2, person_id = $3, version = $4, mac = $5 WHERE id = $1 AND version = $4 - 1 RETURNING id',
      [registration.id, registration.state, registration.personId ?? null, registration.version, await this.#mac(registration)],
    )
    if (updated.length === 0) throw new Problem('conflict', 'The caller was changed by someone else at the same time. Read it again.')
  }

  async #values(r: Registration): Promise<unknown[]> {
    return [r.id, r.kind, r.name, r.state, r.registeredBy, r.registeredAt, r.personId ?? null, r.version, await this.#mac(r)]
  }

  async #mac(registration: Registration): Promise<Uint8Array | undefined> {
    return (await this.#sealer.macRows([registrationRow(registration)]))[0]
  }

  async #checked(rows: readonly CallerRow[]): Promise<Registration[]> {
    const found = rows.map((row) => ({ mac: row.mac, registration: toRegistration(row) }))
    if (found.length > 0) await this.#sealer.assertRows(found.map(({ mac, registration }) => ({ mac, row: registrationRow(registration) })))
    return found.map(({ registration }) => registration)
  }
}

const toRegistration = (row: CallerRow): Registration => ({
  id: row.id,
  kind: row.kind,
  name: row.name,
  state: row.state,
  registeredBy: row.registered_by,
  registeredAt: row.registered_at,
  ...(row.person_id === null ? {} : { personId: row.person_id }),
  version: row.version,
})

export class PgBootstrap implements Bootstrap {
  readonly #sql: Sql
  readonly #sealer: RowSealer

  constructor({ sql, sealer }: { readonly sql: Sql; readonly sealer: RowSealer }) {
    this.#sql = sql
    this.#sealer = sealer
  }

  async find(): Promise<{ readonly officers: readonly string[] } | undefined> {
    const [found] = await this.#sql.query<{ officers: string[]; mac: Uint8Array }>('SELECT officers, mac FROM bootstrap')
    if (found === undefined) return undefined
    await this.#sealer.assertRows([{ row: bootstrapRow(found.officers), mac: found.mac }])
    return { officers: found.officers }
  }

  async burn(tx: Tx, officers: readonly string[]): Promise<void> {
    const [mac] = await this.#sealer.macRows([bootstrapRow(officers)])
    const burnt = await sqlOf(tx).query('INSERT INTO bootstrap (id, officers, mac) VALUES (1, $1, $2) ON CONFLICT DO NOTHING RETURNING id', [officers, mac])
    if (burnt.length === 0)
      throw new Problem('conflict', 'The first two officers are enrolled already. More people are enrolled by an officer, with policies.caller.register.')
  }
}

export const callerTables = (sql: Sql): readonly SealedTable[] => [
  pgSealedTable<CallerRow>(sql, { name: 'callers', key: [['id', 'text']], columns: COLUMNS, toRow: (row) => registrationRow(toRegistration(row)) }),
  pgSealedTable<{ readonly officers: string[] }>(sql, {
    name: 'bootstrap',
    key: [['id', 'int']],
    columns: 'officers, mac',
    keyOf: () => ['1'],
    toRow: ({ officers }) => bootstrapRow(officers),
  }),
]
