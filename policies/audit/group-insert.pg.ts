import type { GroupHead } from './group.ts'
import type { PersonalValue } from './entry.ts'

/** What one group writes beside itself. */
export interface GroupRows {
  readonly personal: readonly (PersonalValue & { readonly seq: number; readonly operationId: string; readonly blindIndex: Uint8Array })[]
  readonly opened: readonly { readonly operationId: string; readonly seq: number }[]
  /** Operations whose intent must be open. */
  readonly closed: readonly string[]
}

export interface Insertion {
  readonly text: string
  readonly values: readonly unknown[]
}

/**
 * One statement for a group and what goes with it, so that a transaction without other statements needs no BEGIN, and others one round trip less.
 * A dozen texts: a part that has nothing to write is left out. An outcome whose intent is not open makes the count 0, which the table refuses.
 */
export function insertGroup(group: GroupHead & { readonly bundle: Uint8Array; readonly mac: Uint8Array }, { personal, opened, closed }: GroupRows): Insertion {
  const values: unknown[] = [group.writer, group.epoch, group.firstSeq, group.count, group.bundle, group.chain, group.mac]
  const list = (type: string, items: readonly unknown[]): string => `$${values.push(items)}::${type}[]`
  const column = <Item extends object>(type: string, items: readonly Item[], key: keyof Item): string =>
    list(
      type,
      items.map((item) => item[key]),
    )
  const parts: string[] = []
  let count = '$4::int'
  if (personal.length > 0) {
    const columns = [
      column('bigint', personal, 'seq'),
      column('text', personal, 'name'),
      column('uuid', personal, 'operationId'),
      column('text', personal, 'value'),
      column('bytea', personal, 'salt'),
      column('bytea', personal, 'blindIndex'),
    ]
    parts.push(
      `personal AS (INSERT INTO audit_personal (writer, epoch, seq, name, operation_id, value, salt, blind_index) SELECT $1, $2, p.* FROM unnest(${columns.join(', ')}) AS p)`,
    )
  }
  if (opened.length > 0) {
    const ids = column('uuid', opened, 'operationId')
    const seqs = column('bigint', opened, 'seq')
    parts.push(`opened AS (INSERT INTO open_intents (operation_id, writer, epoch, seq) SELECT i.id, $1, $2, i.seq FROM unnest(${ids}, ${seqs}) AS i (id, seq))`)
  }
  if (closed.length > 0) {
    // One id has a plan of its own that PostgreSQL keeps; for a list it would plan anew each time.
    const isOne = closed.length === 1
    const ids = isOne ? `$${values.push(closed[0])}::uuid` : list('uuid', closed)
    parts.push(`closed AS (DELETE FROM open_intents WHERE operation_id = ${isOne ? ids : `ANY(${ids})`} RETURNING 1)`)
    count = `CASE WHEN (SELECT count(*) FROM closed) = ${isOne ? '1' : `cardinality(${ids})`} THEN $4::int ELSE 0 END`
  }
  const insert = `INSERT INTO audit_groups (writer, epoch, first_seq, count, bundle, chain, mac) VALUES ($1, $2, $3, ${count}, $5, $6, $7)`
  return { text: parts.length === 0 ? insert : `WITH ${parts.join(', ')} ${insert}`, values }
}

/** Whether the statement failed because an operation was not open: by the table's check that a group has entries. */
export const isNotOpen = (error: unknown): boolean => (error as { readonly constraint?: unknown } | null)?.constraint === 'audit_groups_count_check'
