import { databaseClock } from '../../core/database-clock.pg.ts'
import type { Problem } from '../../core/problem.ts'
import type { RowSealer } from '../../core/row.ts'
import type { Sql } from '../../core/tx.ts'
import { systemCaller } from '../caller.ts'
import { type Gate, perform } from '../gate.ts'
import type { AnyOperation } from '../operation.ts'
import { type HoldDesk, holdDesk } from './desk.ts'
import { ExpiryJob } from './expiry-job.ts'
import { holdTables, PgHoldStore } from './hold-store.pg.ts'
import { approveHold } from './operations/approve-hold.ts'
import type { Deps, Parking } from './operations/deps.ts'
import { expireHold, refuseHold, withdrawHold } from './operations/end-hold.ts'
import { getHold } from './operations/get-hold.ts'
import { listHolds } from './operations/list-holds.ts'
import { parkRequest } from './operations/park.ts'
import { runHold } from './operations/run-hold.ts'

export { holdInputRow } from './hold-store.ts'
export type { Parking } from './operations/deps.ts'

/** Holds ended in one turn of the job. */
const MOST_EXPIRED = 100

export interface HoldParts {
  readonly sql: Sql
  readonly sealer: RowSealer
  readonly gate: Gate
  readonly parking: Parking
  /** All operations, known once everything is put together. */
  readonly operations: () => readonly AnyOperation[]
  readonly isActive: (callerId: string) => Promise<boolean>
  readonly onExpiryFailure: (problem: Problem) => void
}

/** Requests that wait for other people's approval. */
export function holdFeature({ sql, sealer, gate, parking, operations, isActive, onExpiryFailure }: HoldParts) {
  const databaseNow = databaseClock(sql)
  const holds = new PgHoldStore({ sql, sealer })
  const deps: Deps = { holds, parking, databaseNow }
  const [system, park, expire] = [systemCaller('holds'), parkRequest(deps), expireHold(deps)]
  const run = runHold(deps, async ({ parent, hold, caller, body }) => {
    const op = operations().find(({ name }) => name === hold.operation)
    if (op === undefined) throw new Error(`no operation is named ${hold.operation} any more`)
    return (await perform(gate, op, { parent, caller, body, holdId: hold.id })) as object
  })
  const desk: HoldDesk = holdDesk({
    ...{ holds, databaseNow, isActive },
    park: async (parent, body) => {
      await perform(gate, park, { parent, caller: system, body })
    },
  })
  const job = new ExpiryJob({
    overdue: () => holds.overdue(MOST_EXPIRED),
    expire: async (holdId) => {
      await perform(gate, expire, { caller: system, body: { holdId } })
    },
    onFailure: onExpiryFailure,
  })
  const own: readonly AnyOperation[] = [park, listHolds(deps), getHold(deps), approveHold(deps), refuseHold(deps), withdrawHold(deps), run, expire]
  return { desk, job, operations: own, sealedTables: holdTables(sql) }
}
