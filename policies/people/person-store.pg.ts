import { Problem } from '../../core/problem.ts'
import type { RowSealer } from '../../core/row.ts'
import { assertWritten, openRecords, sealRow } from '../../core/sealed-records.ts'
import { pgSealedTable } from '../../core/sealed-table.pg.ts'
import type { SealedTable } from '../../core/sealed-table.ts'
import { type Sql, sqlOf, type Tx } from '../../core/tx.ts'
import { type Person, personRow } from './person.ts'
import type { PersonStore } from './person-store.ts'

interface PersonColumns {
  readonly id: string
  readonly name: string
  readonly state: Person['state']
  readonly registered_by: string
  readonly registered_at: string
  readonly version: number
  readonly mac: Uint8Array
}

const COLUMNS = 'id, name, state, registered_by, registered_at, version, mac'
const SELECT = `SELECT ${COLUMNS} FROM persons`

export class PgPersonStore implements PersonStore {
  readonly #sql: Sql
  readonly #sealer: RowSealer

  constructor({ sql, sealer }: { readonly sql: Sql; readonly sealer: RowSealer }) {
    this.#sql = sql
    this.#sealer = sealer
  }

  async find(id: string): Promise<Person | undefined> {
    return (await this.#read(`${SELECT} WHERE id = $1`, [id]))[0]
  }

  async findByName(name: string): Promise<Person | undefined> {
    return (await this.#read(`${SELECT} WHERE name = $1`, [name]))[0]
  }

  list({ after, limit }: { readonly after?: string; readonly limit: number }): Promise<Person[]> {
    return this.#read(`${SELECT} WHERE $1::text IS NULL OR name > (SELECT name FROM persons WHERE id = $1) ORDER BY name LIMIT $2`, [after ?? null, limit])
  }

  async insert(tx: Tx, p: Person): Promise<void> {
    const inserted = await sqlOf(tx).query(`INSERT INTO persons (${COLUMNS}) VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (name) DO NOTHING RETURNING id`, [
      ...[p.id, p.name, p.state, p.registeredBy, p.registeredAt, p.version],
      await sealRow(this.#sealer, personRow(p)),
    ])
    if (inserted.length === 0)
      throw new Problem('conflict', `There is a person named ${p.name} already. Name them in \`person\` if it is the same one; else choose another name.`)
  }

  async update(tx: Tx, p: Person): Promise<void> {
    const updated = await sqlOf(tx).query('UPDATE persons SET state = $2, version = $3, mac = $4 WHERE id = $1 AND version = $3 - 1 RETURNING id', [
      ...[p.id, p.state, p.version],
      await sealRow(this.#sealer, personRow(p)),
    ])
    assertWritten(updated, 'person')
  }

  async #read(text: string, values: readonly unknown[]): Promise<Person[]> {
    return openRecords(this.#sealer, await this.#sql.query<PersonColumns>(text, values), toPerson, personRow)
  }
}

const toPerson = (row: PersonColumns): Person => ({
  ...{ id: row.id, name: row.name, state: row.state, registeredBy: row.registered_by, registeredAt: row.registered_at, version: row.version },
})

export const personTable = (sql: Sql): SealedTable =>
  pgSealedTable<PersonColumns>(sql, { name: 'persons', key: [['id', 'text']], columns: COLUMNS, toRow: (row) => personRow(toPerson(row)) })
