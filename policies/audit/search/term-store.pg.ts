import type { Sql } from '../../../core/tx.ts'
import type { MinimumIndex } from '../prune/prune-record.ts'
import type { TermRange } from './field.ts'
import type { SealedSegment, Span, TermRow } from './segment.ts'
import type { IndexPosition, Segments, TermStore } from './term-store.ts'

/** So many segments are looked up one by one; more as the range that they lie in. */
const FEW = 64

/** The text and values of "segment is one of these", from the next parameter on. */
const oneOf = (segments: Segments, next: number): { readonly text: string; readonly values: readonly unknown[] } =>
  segments.length <= FEW
    ? { text: `segment = ANY($${next}::bigint[])`, values: [segments] }
    : { text: `segment BETWEEN $${next} AND $${next + 1}`, values: [segments[0], segments.at(-1)] }

/** Only the next segment is taken, and only once, whatever number of processes believe that they lead. */
const SEAL = `
  WITH moved AS (UPDATE audit_indexed SET segments = segments + 1 WHERE id = 1 AND segments = $1 AND generation = $2 RETURNING segments),
  kept AS (INSERT INTO audit_segments (segment, first_ms, last_ms, times) SELECT $1, $3, $4, $5 FROM moved),
  added AS (
    INSERT INTO audit_terms (field, value, segment, count, bits)
    SELECT t.field, t.value, $1, t.count, substr($10::bytea, t.start, t.length)
    FROM moved, unnest($6::smallint[], $7::text[], $8::int[], $9::int[], $11::int[]) AS t (field, value, count, start, length)
  )
  SELECT segments FROM moved`

/** One index probe for each value that there is. */
const VALUES = `
  WITH RECURSIVE found AS (
    (SELECT value FROM audit_terms WHERE field = $1 AND value >= $2 AND value <= $3 ORDER BY value LIMIT 1)
    UNION ALL
    SELECT (SELECT t.value FROM audit_terms t WHERE t.field = $1 AND t.value > found.value AND t.value <= $3 ORDER BY t.value LIMIT 1)
    FROM found WHERE found.value IS NOT NULL
  )
  SELECT value FROM found WHERE value IS NOT NULL LIMIT $4`

/** The inner LIMIT keeps the planner to one index probe a term. */
const STORED = `
  SELECT s.count, s.bits FROM unnest($2::smallint[], $3::text[]) WITH ORDINALITY AS t (field, value, at)
  LEFT JOIN LATERAL (SELECT count, bits FROM audit_terms a WHERE a.field = t.field AND a.value = t.value AND a.segment = $1 LIMIT 1) s ON true
  ORDER BY t.at`

interface SpanRow {
  readonly first_ms: string
  readonly last_ms: string
}

export class PgTermStore implements TermStore {
  readonly #sql: Sql
  readonly #minimumIndex: MinimumIndex

  constructor(sql: Sql, minimumIndex: MinimumIndex) {
    this.#sql = sql
    this.#minimumIndex = minimumIndex
  }

  async position(): Promise<IndexPosition> {
    const [row] = await this.#sql.query<{ segments: string; generation: number; size: string }>(
      'SELECT i.segments, i.generation, h.size FROM audit_indexed i, audit_head h WHERE i.id = 1 AND h.id = 1',
    )
    if (row === undefined) throw new Error('the table audit_indexed or audit_head is empty')
    return { sealed: Number(row.segments), generation: row.generation, size: Number(row.size), from: await this.#minimumIndex() }
  }

  async seal({ segment, firstMs, lastMs, times, terms }: SealedSegment, generation: number): Promise<boolean> {
    let next = 1
    const starts = terms.map(({ bits }) => {
      const start = next
      next += bits.length
      return start
    })
    const column = <Key extends keyof TermRow>(key: Key): TermRow[Key][] => terms.map((term) => term[key])
    // The bits go as one value: an array of them would be made as text, twice as long.
    const bits = Buffer.concat(column('bits'))
    const lengths = terms.map((term) => term.bits.length)
    const rows = await this.#sql.query(SEAL, [
      ...[segment, generation, firstMs, lastMs, times],
      ...[column('field'), column('value'), column('count'), starts, bits, lengths],
    ])
    return rows.length === 1
  }

  async rows(field: number, values: readonly string[], segments: Segments): ReturnType<TermStore['rows']> {
    if (values.length === 0 || segments.length === 0) return []
    const among = oneOf(segments, 3)
    // One row a value, since a row costs more than what is in it.
    const rows = await this.#sql.query<{ value: string; bits: Buffer }>(
      `SELECT value, string_agg(int8send(segment) || int4send(length(bits)) || bits, '') AS bits
       FROM audit_terms WHERE field = $1 AND value = ANY($2::text[]) AND ${among.text} GROUP BY value`,
      [field, values, ...among.values],
    )
    return rows.flatMap(bitsBySegment)
  }

  async sums(field: number, first: number, sealed: number): ReturnType<TermStore['sums']> {
    const rows = await this.#sql.query<{ value: string; count: string }>(
      'SELECT value, sum(count) AS count FROM audit_terms WHERE field = $1 AND segment >= $2 AND segment < $3 GROUP BY value',
      [field, first, sealed],
    )
    return rows.map(({ value, count }) => ({ value, count: Number(count) }))
  }

  async values(field: number, { first, last }: TermRange, limit: number): Promise<string[]> {
    return (await this.#sql.query<{ value: string }>(VALUES, [field, first, last, limit])).map(({ value }) => value)
  }

  async spans(segments: Segments): ReturnType<TermStore['spans']> {
    if (segments.length === 0) return []
    const among = oneOf(segments, 1)
    const rows = await this.#sql.query<SpanRow & { segment: string }>(`SELECT segment, first_ms, last_ms FROM audit_segments WHERE ${among.text}`, among.values)
    return rows.map((row) => ({ segment: Number(row.segment), ...spanOf(row) }))
  }

  async times(segments: Segments): ReturnType<TermStore['times']> {
    const rows = await this.#sql.query<{ segment: string; times: Buffer }>('SELECT segment, times FROM audit_segments WHERE segment = ANY($1::bigint[])', [
      segments,
    ])
    return rows.map(({ segment, times }) => ({ segment: Number(segment), times }))
  }

  async wholeSpan(first: number, sealed: number): Promise<Span | undefined> {
    const [row] = await this.#sql.query<SpanRow | { first_ms: null }>(
      'SELECT min(first_ms) AS first_ms, max(last_ms) AS last_ms FROM audit_segments WHERE segment >= $1 AND segment < $2',
      [first, sealed],
    )
    return row === undefined || row.first_ms === null ? undefined : spanOf(row)
  }

  async clear(): Promise<void> {
    await this.#sql.query('SELECT audit_forget_index()')
  }

  async stored(segment: number, terms: readonly Pick<TermRow, 'field' | 'value'>[]): ReturnType<TermStore['stored']> {
    const rows = await this.#sql.query<{ count: number; bits: Buffer } | { count: null }>(STORED, [
      segment,
      terms.map(({ field }) => field),
      terms.map(({ value }) => value),
    ])
    return rows.map((row) => (row.count === null ? undefined : row))
  }

  async *rowCounts(field: number): ReturnType<TermStore['rowCounts']> {
    for await (const rows of this.#pages<{ segment: string; rows: string }>(ROW_COUNTS, field))
      yield new Map(rows.map((row) => [Number(row.segment), Number(row.rows)]))
  }

  async *valuesIn(field: number, segments: Segments): ReturnType<TermStore['valuesIn']> {
    for await (const rows of this.#pages<{ segment: string | null; value: string }>(VALUES_IN, field, segments))
      yield rows.flatMap(({ segment, value }) => (segment === null ? [] : [{ segment: Number(segment), value }]))
  }

  async *#pages<Row extends object>(text: string, field: number, ...more: readonly unknown[]): AsyncGenerator<readonly (Row & PageRow)[]> {
    for (let after: readonly unknown[] = ['', -1]; ; ) {
      const rows = await this.#sql.query<Row & PageRow>(text, [field, ...after, ...more])
      const [first] = rows
      if (first === undefined) return
      yield rows
      after = [first.last_value, first.last_segment]
    }
  }
}

/**
 * A page of a field in the order of the primary key: more than that is not read in the time that a statement has. Its last row, and rows of what is asked for; where
 * there are none, one of nulls.
 */
const pageOf = (asked: string): string => `
  WITH page AS MATERIALIZED (SELECT value, segment FROM audit_terms WHERE field = $1 AND (value, segment) > ($2, $3::bigint) ORDER BY value, segment LIMIT 100000)
  SELECT l.value AS last_value, l.segment AS last_segment, a.*
  FROM (SELECT value, segment FROM page ORDER BY value DESC, segment DESC LIMIT 1) l LEFT JOIN (${asked}) a ON true`
const ROW_COUNTS = pageOf('SELECT segment, count(*) AS rows FROM page GROUP BY segment')
const VALUES_IN = pageOf('SELECT segment, value FROM page WHERE segment = ANY($4::bigint[])')

interface PageRow {
  readonly last_value: string
  readonly last_segment: string
}

const spanOf = ({ first_ms, last_ms }: SpanRow): Span => ({ firstMs: Number(first_ms), lastMs: Number(last_ms) })

/** Segment (8 bytes, of which 6 are enough for 2^60 entries), length (4 bytes), bits; and the next. */
function bitsBySegment({ value, bits: all }: { readonly value: string; readonly bits: Buffer }): { segment: number; value: string; bits: Uint8Array }[] {
  const found: { segment: number; value: string; bits: Uint8Array }[] = []
  for (let at = 0; at < all.length; ) {
    const [segment, start] = [all.readUIntBE(at + 2, 6), at + 12]
    const end = start + all.readInt32BE(at + 8)
    found.push({ segment, value, bits: all.subarray(start, end) })
    at = end
  }
  return found
}
