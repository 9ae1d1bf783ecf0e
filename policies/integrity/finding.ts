import type { RowDigest } from '../../core/row.ts'

/** What the check can find, and what to do about it. */
export const FINDINGS = {
  'row-edited': 'The token did not make this row’s MAC. The service refuses it. Put the row back from a backup.',
  'row-replayed': 'An older version of the row was put back whole. What was done since does not count any more. Put the newest version back.',
  'row-deleted': 'The row is gone, and no entry says so. Put it back from a backup.',
  'row-added': 'No entry names this row. It has the token’s MAC: who made it used the token past the log. Find out who, before anything goes on.',
  'row-differs': 'The row is not the one that the entry of its version names. It has the token’s MAC: who made it used the token past the log.',
  'content-differs':
    'Rows that belong to a sealed row are not those that it was made over. The service refuses to go on with them. Put them back from a backup.',
  'heads-differ':
    'The row heads are not those of the prune: with them other rows than those that the log named count as right. Put audit_row_heads back from a backup.',
  'table-unreadable': 'The table cannot be read as the service reads it. Its rows were not compared.',
  'entry-changed': 'The entry is not the one that was signed. Put audit_groups back from a backup; keep the database as it is for who investigates.',
  'entry-missing': 'The entry is not there. Put audit_groups and audit_entries back from a backup; keep the database as it is for who investigates.',
  'entry-added': 'A row of audit_entries lies outside the log. Delete it.',
  'index-differs': 'The row of audit_entries does not say what its entry says: it is found by another operation. Put it back.',
  'search-index-differs': 'The index of searches does not say what the entries say: searches miss entries or fail. Make it anew: gridseal audit reindex.',
  'personal-differs': 'A personal value was exchanged or added, or deleted past the erasure by two persons. Put it back; then it can be erased as it is to be.',
  'group-mac': 'The token did not make this group’s MAC: it was changed, or inserted. Put it back from a backup.',
  'group-chain': 'The group does not follow the one before it in its epoch. Put audit_groups back from a backup.',
  'group-hidden':
    'Groups were committed, and are kept from being sequenced. Put the row of their epoch in audit_writers back, and drained to false in audit_sequenced: the next round takes them.',
  'group-added': 'There are more groups than the log has: somebody inserted some. Delete those that no row of audit_entries names.',
  'tile-differs': 'The tile does not follow from the entries: proofs made of it fail. Put it back.',
  'checkpoint-invalid': 'The checkpoint is not one that the log’s key signed. Put it back.',
  'root-mismatch': 'The entries are not those that were signed. Find the first changed entry among the other findings; put the log back from a backup.',
  'head-differs': 'The head of the tree does not follow from the entries. The next leader refuses it. Put audit_head back.',
  'database-behind': 'The database is older than what was signed. Restore the newer one.',
  'log-stopped': 'The log refuses to go on. What it found must be mended first.',
  'schema-differs': 'The schema is not what this version makes. The service refuses to start on it. Put it back as told.',
} as const satisfies Readonly<Record<string, string>>

export type FindingCode = keyof typeof FINDINGS

/** Something that is not as it was written. By code and subject it is known again in the next pass. */
export interface Finding {
  readonly code: FindingCode
  /** The one thing that it is about: `callers 0198...`, `entry 17`, `trigger append_only on audit_groups`. */
  readonly subject: string
  /** What differs. */
  readonly detail: string
  /** The entry that named it last: until then it was right. Absent where no entry is about it. */
  readonly since?: number
}

/** A row as the findings name it. */
export const subjectOf = ({ table, id }: Pick<RowDigest, 'table' | 'id'>): string => `${table} ${id}`
