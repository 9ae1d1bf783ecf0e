import { type Sql, sqlOf, type Tx } from '../../core/tx.ts'
import type { WriterPosition } from '../audit/entry.ts'
import type { PersonalStore } from './personal-store.ts'
import type { Erased, Kept, KeptOf, Tally } from './personal-value.ts'

/** Jumps from name to name along the index: there are a dozen among millions of rows. */
const NAMES = `
  WITH RECURSIVE names AS (
    (SELECT name FROM audit_personal ORDER BY name LIMIT 1)
    UNION ALL
    SELECT (SELECT p.name FROM audit_personal p WHERE p.name > n.name ORDER BY p.name LIMIT 1) FROM names n WHERE n.name IS NOT NULL
  ) SELECT name FROM names WHERE name IS NOT NULL`

const KEPT = `
  SELECT a.at, k.name, k.value, k.salt, k.erasure FROM unnest($1::int[], $2::int[], $3::bigint[]) WITH ORDINALITY AS a (writer, epoch, seq, at)
  JOIN (
    SELECT writer, epoch, seq, name, value, salt, NULL::uuid AS erasure FROM audit_personal
    UNION ALL SELECT writer, epoch, seq, name, NULL, NULL, erasure FROM audit_erasures
  ) k USING (writer, epoch, seq)`

/** An entry is as old as its group; one that was pruned, as the youngest that was. */
const TALLY = `
  SELECT count(*) AS values, count(DISTINCT (p.writer, p.epoch, p.seq)) AS entries, min(g.created_at) AS earliest, max(g.created_at) AS latest,
    coalesce(array_agg(DISTINCT p.name ORDER BY p.name), '{}') AS names,
    count(*) FILTER (WHERE g.created_at >= clock_timestamp() - $2::int * interval '1 day') AS retained
  FROM audit_personal p
  CROSS JOIN LATERAL (
    SELECT coalesce(
      (SELECT created_at FROM audit_groups g WHERE g.writer = p.writer AND g.epoch = p.epoch AND g.first_seq <= p.seq ORDER BY g.first_seq DESC LIMIT 1),
      (SELECT max(youngest_at) FROM audit_prunes)
    ) AS created_at
  ) g
  WHERE p.blind_index = ANY ($1::bytea[])`

const ERASE = `SELECT * FROM audit_erase_personal($1::uuid, $2::bytea[], clock_timestamp() - $3::int * interval '1 day')`

interface KeptRow {
  /** From 1. */
  readonly at: string
  readonly name: string
  readonly value: string | null
  readonly salt: Buffer | null
  readonly erasure: string | null
}

export class PgPersonalStore implements PersonalStore {
  readonly #sql: Sql

  constructor(sql: Sql) {
    this.#sql = sql
  }

  async names(): Promise<string[]> {
    return (await this.#sql.query<{ name: string }>(NAMES)).map(({ name }) => name)
  }

  async keptOf(entries: readonly WriterPosition[]): Promise<KeptOf[]> {
    const rows = await this.#sql.query<KeptRow>(KEPT, [entries.map(({ slot }) => slot), entries.map(({ epoch }) => epoch), entries.map(({ seq }) => seq)])
    return entries.map((writer, at) => ({ writer, kept: rows.filter((row) => Number(row.at) === at + 1).map(toKept) }))
  }

  async tally(blindIndexes: readonly Uint8Array[], retentionDays: number): Promise<Tally> {
    const [row] = await this.#sql.query<TallyRow>(TALLY, [blindIndexes, retentionDays])
    return {
      ...timesOf(row),
      ...{ values: Number(row?.values ?? 0), entries: Number(row?.entries ?? 0), retained: Number(row?.retained ?? 0) },
      names: row?.names ?? [],
    }
  }

  async erase(tx: Tx, erasure: string, blindIndexes: readonly Uint8Array[], retentionDays: number): Promise<Erased> {
    const [row] = await sqlOf(tx).query<ErasedRow>(ERASE, [erasure, blindIndexes, retentionDays])
    if (row === undefined) throw new Error('the erasure answered nothing')
    return { ...timesOf(row), values: Number(row.erased_values), entries: Number(row.erased_entries), positions: row.positions }
  }
}

interface Times {
  readonly earliest: Date | null
  readonly latest: Date | null
}
interface TallyRow extends Times {
  readonly values: string
  readonly entries: string
  readonly retained: string
  readonly names: string[]
}
interface ErasedRow extends Times {
  readonly erased_values: string
  readonly erased_entries: string
  readonly positions: Buffer
}

const timesOf = (row: Times | undefined): Pick<Tally, 'earliest' | 'latest'> => ({ earliest: row?.earliest ?? undefined, latest: row?.latest ?? undefined })

const toKept = ({ name, value, salt, erasure }: KeptRow): Kept =>
  erasure === null ? { kind: 'value', value: { name, value: value ?? '', salt: salt ?? new Uint8Array() } } : { kind: 'erased', name, erasure }
