import type { RowSealer } from '../../core/row.ts'
import type { Sql } from '../../core/tx.ts'
import type { AnyOperation } from '../operation.ts'
import type { Bootstrap, CallerStore } from './caller-store.ts'
import { PgBootstrap, PgCallerStore } from './caller-store.pg.ts'
import { enrolFirstOfficers } from './operations/enrol-first-officers.ts'
import { listCallers } from './operations/list-callers.ts'
import { registerCaller } from './operations/register-caller.ts'
import { revokeCaller } from './operations/revoke-caller.ts'

export type { Registration } from './caller-store.ts'

/** Who may call: registrations, their end, and the one way in before anyone is in. */
export function callerFeature({ sql, sealer, now }: { readonly sql: Sql; readonly sealer: RowSealer; readonly now: () => Date }) {
  const callers: CallerStore = new PgCallerStore({ sql, sealer })
  const bootstrap: Bootstrap = new PgBootstrap({ sql, sealer })
  const enrol = enrolFirstOfficers({ callers, bootstrap, now })
  const operations: readonly AnyOperation[] = [registerCaller({ callers, now }), revokeCaller({ callers }), listCallers({ callers }), enrol]
  return { callers, bootstrap, operations, enrolFirstOfficers: enrol }
}
