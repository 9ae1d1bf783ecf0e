import type { Sql } from '../../core/tx.ts'
import type { CosignatureStore, CosignedNote } from './cosignature-store.ts'

const COSIGNED = `
  SELECT c.note, coalesce((SELECT array_agg(line ORDER BY key) FROM audit_cosignatures s WHERE s.size = c.size), '{}') AS lines
  FROM audit_checkpoints c`

/** The newest alone: checkpoints of an origin are over more entries than those of every origin before it. */
const LAST_SIZE = `SELECT s.size, starts_with(c.note, $2) AS "isOfOrigin" FROM audit_cosignatures s JOIN audit_checkpoints c USING (size) WHERE s.key = $1 ORDER BY s.size DESC LIMIT 1`

export class PgCosignatureStore implements CosignatureStore {
  readonly #sql: Sql

  constructor(sql: Sql) {
    this.#sql = sql
  }

  async lastCheckpoint(): Promise<string | undefined> {
    return (await this.#sql.query<{ note: string }>('SELECT note FROM audit_checkpoints ORDER BY size DESC LIMIT 1'))[0]?.note
  }

  async find(vkey: string, size: number): Promise<string | undefined> {
    return (await this.#sql.query<{ line: string }>('SELECT line FROM audit_cosignatures WHERE key = $1 AND size = $2', [vkey, size]))[0]?.line
  }

  async lastSize(vkey: string, origin: string): Promise<number> {
    const [newest] = await this.#sql.query<{ size: string; isOfOrigin: boolean }>(LAST_SIZE, [vkey, `${origin}\n`])
    return newest?.isOfOrigin === true ? Number(newest.size) : 0
  }

  async record({ vkey, size, line }: { readonly vkey: string; readonly size: number; readonly line: string }): Promise<void> {
    await this.#sql.query('INSERT INTO audit_cosignatures (key, size, line) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING', [vkey, size, line])
  }

  async cosigned(size: number): Promise<CosignedNote | undefined> {
    return (await this.#sql.query<CosignedNote>(`${COSIGNED} WHERE c.size = $1`, [size]))[0]
  }

  async markWitnessed(size: number): Promise<void> {
    await this.#sql.query('INSERT INTO audit_witnessed (size) VALUES ($1) ON CONFLICT DO NOTHING', [size])
  }

  witnessed(limit: number): Promise<readonly CosignedNote[]> {
    return this.#sql.query<CosignedNote>(`${COSIGNED} JOIN audit_witnessed w USING (size) ORDER BY c.size DESC LIMIT $1`, [limit])
  }
}
