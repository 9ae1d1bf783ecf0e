import { randomBytes } from 'node:crypto'
import type { RowSealer } from '../../core/row.ts'
import type { SealedTable } from '../../core/sealed-table.ts'
import type { Sql } from '../../core/tx.ts'
import { type Caller, needsAdmission } from '../caller.ts'
import type { CallerStore } from '../callers/caller-store.ts'
import type { AnyOperation } from '../operation.ts'
import { admissionOf } from './admission.ts'
import { admissionTable, PgAdmissionStore } from './admission-store.pg.ts'
import { changeAdmission } from './operations/change-admission.ts'
import type { Deps } from './operations/deps.ts'
import { fileAdmission } from './operations/file-admission.ts'
import { getAdmission, listAdmissionHistory, listAdmissions } from './operations/read-admissions.ts'
import { resumeAdmission, suspendAdmission } from './operations/suspend-admission.ts'

export interface AdmissionParts {
  readonly sql: Sql
  readonly sealer: RowSealer
  readonly callers: Pick<CallerStore, 'find'>
  readonly now: () => Date
}

export interface AdmissionFeature {
  readonly operations: readonly AnyOperation[]
  readonly sealedTables: readonly SealedTable[]
  /** The caller with what its admission gives it. Whoever needs none is left as they are. */
  withAdmission<Found extends Pick<Caller, 'kind' | 'id'>>(caller: Found): Promise<Found & Pick<Caller, 'admittedUntil'>>
}

/** Who of those that no person stands behind may call at all: vendors and modules, filed with their documents and assessed. */
export function admissionFeature({ sql, sealer, callers, now }: AdmissionParts): AdmissionFeature {
  const admissions = new PgAdmissionStore({ sql, sealer })
  const deps: Deps = { admissions, callers, now, random: (n) => randomBytes(n) }
  return {
    operations: [
      ...[fileAdmission(deps), changeAdmission(deps), suspendAdmission(deps), resumeAdmission(deps)],
      ...[getAdmission(deps), listAdmissionHistory(deps), listAdmissions(deps)],
    ],
    sealedTables: [admissionTable(sql)],
    withAdmission: async (caller) => (needsAdmission(caller.kind) ? { ...caller, ...admissionOf(await admissions.find(caller.id)) } : caller),
  }
}
