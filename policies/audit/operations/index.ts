import type { AnyOperation } from '../../operation.ts'
import type { LogKey } from '../checkpoint.ts'
import type { LogReader } from '../reader.ts'
import { exportLog, getCheckpoint } from './export.ts'
import { proveOperation } from './proof.ts'
import { getOperation, searchEntries } from './search.ts'

/** What auditors do with the log. Each of them is itself an entry. */
export const auditOperations = (deps: { readonly reader: LogReader; readonly key: LogKey }): readonly AnyOperation[] => [
  searchEntries(deps),
  getOperation(deps),
  proveOperation(deps),
  getCheckpoint(deps),
  exportLog(deps),
]
