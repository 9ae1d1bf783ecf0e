import { Problem } from './problem.ts'
import type { Row, RowSealer } from './row.ts'

/** The records of database rows whose MACs the token has found right. Throws `integrity-failed` for the first that it has not. */
export async function openRecords<DatabaseRow extends { readonly mac: Uint8Array }, Record>(
  sealer: Pick<RowSealer, 'assertRows'>,
  rows: readonly DatabaseRow[],
  toRecord: (row: DatabaseRow) => Record,
  toRow: (record: Record) => Row,
): Promise<Record[]> {
  const records = rows.map(toRecord)
  if (records.length > 0) await sealer.assertRows(records.map((record, at) => ({ row: toRow(record), mac: rows[at]?.mac ?? new Uint8Array() })))
  return records
}

/** The MAC of one row. */
export async function sealRow(sealer: RowSealer, row: Row): Promise<Uint8Array> {
  const [mac] = await sealer.macRows([row])
  if (mac === undefined) throw new Problem('hsm-failed', 'The HSM gave no MAC for a record.')
  return mac
}

/** What who lost a race is told. */
const askAgain = (thing: string, cause?: unknown): Problem =>
  new Problem('conflict', `The ${thing} was changed by someone else at the same time. Ask again.`, { cause })

/** Throws `conflict` when a compare-and-swap changed nothing. */
export function assertWritten(written: readonly unknown[], thing: string): void {
  if (written.length === 0) throw askAgain(thing)
}

/** PostgreSQL's codes of a deadlock, and of an exclusion that two writers at once run into: the one that is told loses. */
const LOST_RACES = new Set(['40P01', '23P01'])

/** Throws `conflict` when the statement lost a race. */
export async function losing<Result>(thing: string, statement: Promise<Result>): Promise<Result> {
  try {
    return await statement
  } catch (error) {
    if (error instanceof Error && 'code' in error && LOST_RACES.has(String(error.code))) throw askAgain(thing, error)
    throw error
  }
}
