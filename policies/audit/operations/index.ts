import type { AnyOperation } from '../../operation.ts'
import { type ExportedLog, exportLog, getCheckpoint } from './export.ts'
import { readBundles } from './bundle.ts'
import { proveOperation } from './proof.ts'
import { proveEntry } from './proof-of-entry.ts'
import { countEntries, getOperation, queryEntries, type SearchDeps, searchEntries } from './search.ts'

/** What auditors do with the log. Each of them is itself an entry. */
export const auditOperations = (deps: ExportedLog & SearchDeps): readonly AnyOperation[] => [
  searchEntries(deps),
  queryEntries(deps),
  countEntries(deps),
  getOperation(deps),
  proveOperation(deps),
  proveEntry(deps),
  getCheckpoint(deps),
  exportLog(deps),
  readBundles(deps),
]
