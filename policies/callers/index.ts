import type { RowSealer } from '../../core/row.ts'
import type { Sql } from '../../core/tx.ts'
import type { AnyOperation } from '../operation.ts'
import type { PersonStore } from '../people/person-store.ts'
import { personTable, PgPersonStore } from '../people/person-store.pg.ts'
import type { Bootstrap, CallerStore } from './caller-store.ts'
import { callerTables, PgBootstrap, PgCallerStore } from './caller-store.pg.ts'
import { enrolFirstOfficers } from './operations/enrol-first-officers.ts'
import { listCallers } from './operations/list-callers.ts'
import { registerCaller } from './operations/register-caller.ts'
import { revokeCaller } from './operations/revoke-caller.ts'
import { samePersonBy } from './same-person.ts'

export type { Registration } from './caller-store.ts'

/** Who may call: registrations, the persons they belong to, their end, and the one way in before anyone is in. */
export function callerFeature({ sql, sealer, now }: { readonly sql: Sql; readonly sealer: RowSealer; readonly now: () => Date }) {
  const callers: CallerStore = new PgCallerStore({ sql, sealer })
  const persons: PersonStore = new PgPersonStore({ sql, sealer })
  const bootstrap: Bootstrap = new PgBootstrap({ sql, sealer })
  const enrol = enrolFirstOfficers({ callers, persons, bootstrap, now })
  const operations: readonly AnyOperation[] = [registerCaller({ callers, persons, now }), revokeCaller({ callers }), listCallers({ callers }), enrol]
  const sealedTables = [...callerTables(sql), personTable(sql)]
  return { callers, persons, bootstrap, operations, enrolFirstOfficers: enrol, samePerson: samePersonBy(callers), sealedTables }
}
