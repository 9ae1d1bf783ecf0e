import { type OperationId, operationId } from '../core/ids.ts'
import type { Row, RowSealer } from '../core/row.ts'
import { openRecords, sealRow } from '../core/sealed-records.ts'
import { pgSealedTable } from '../core/sealed-table.pg.ts'
import type { SealedTable } from '../core/sealed-table.ts'
import type { Sql } from '../core/tx.ts'

export type EventFacts = Readonly<Record<string, string | number>>

/**
 * What a ceremony of the command line did, until the log has it. Sealed: who owns the database can make the service refuse, and cannot say that a ceremony was held.
 * They can take a note away that the log does not have yet.
 */
export interface CeremonyNote {
  /** Of the event in the log. */
  readonly id: OperationId
  readonly operation: 'system.token-backed-up' | 'system.root-keys-added'
  /** JSON of {@link EventFacts}. */
  readonly facts: string
}

interface Columns {
  readonly operation_id: string
  readonly operation: CeremonyNote['operation']
  readonly facts: string
  readonly mac: Uint8Array
}

const COLUMNS = 'operation_id, operation, facts, mac'
const ALL = `SELECT ${COLUMNS} FROM ceremony_notes ORDER BY held_at, operation_id`
const INSERT = `INSERT INTO ceremony_notes (${COLUMNS}, version) VALUES ($1, $2, $3, $4, 1) ON CONFLICT (operation_id) DO NOTHING`

export const noteRow = ({ id, operation, facts }: CeremonyNote): Row => ({ table: 'ceremony_notes', schema: 1, id, version: 1, columns: { operation, facts } })
const toNote = ({ operation_id, operation, facts }: Columns): CeremonyNote => ({ id: operationId(operation_id), operation, facts })

/** For the log: the service puts it there, at its start or within a minute. A note of the same id is there already, and stays. */
export async function noteCeremony(
  sql: Sql,
  sealer: RowSealer,
  { facts, ...note }: Omit<CeremonyNote, 'facts'> & { readonly facts: EventFacts },
): Promise<void> {
  const sealed = { ...note, facts: JSON.stringify(facts) }
  await sql.query(INSERT, [sealed.id, sealed.operation, sealed.facts, await sealRow(sealer, noteRow(sealed))])
}

/** All that were ever made, in their order. Throws `integrity-failed`. */
export const loadNotes = async (sql: Sql, sealer: RowSealer): Promise<CeremonyNote[]> => openRecords(sealer, await sql.query<Columns>(ALL), toNote, noteRow)

export const noteTable = (sql: Sql): SealedTable =>
  pgSealedTable<Columns>(sql, { name: 'ceremony_notes', key: [['operation_id', 'uuid']], columns: COLUMNS, toRow: (row) => noteRow(toNote(row)) })
