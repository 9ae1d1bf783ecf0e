import type { OperationId } from '../../core/ids.ts'
import { Problem } from '../../core/problem.ts'
import type { Sql } from '../../core/tx.ts'
import { closeTx, Tx } from '../../core/tx.ts'
import { z } from 'zod'
import { type Gate, perform } from '../gate.ts'
import type { AuditLog, EntryDraft, LogTx } from '../audit/log.ts'
import { systemCaller } from '../caller.ts'
import type { Decision } from '../firewall/decide.ts'
import { operation } from '../operation.ts'
import type { KeyUse, Permit } from '../permit.ts'

const gone = (): Problem => new Problem('log-unavailable', 'The log is gone.')

const noSql: Sql = { query: () => Promise.reject(new Error('this test has no database')) }

/** A log in memory that keeps what it acknowledged. `fail` makes the next commits fail, before or after having taken effect. */
export class MemoryLog implements AuditLog {
  readonly entries: EntryDraft[] = []
  fail: 'no' | 'before' | 'after' = 'no'
  transactions = 0
  readonly #sql: Sql

  constructor(sql: Sql = noSql) {
    this.#sql = sql
  }

  async transact<Result>(work: (log: LogTx) => Promise<Result>): Promise<Result> {
    const tx = new Tx(this.#sql)
    const group: EntryDraft[] = []
    try {
      const result = await work({ tx, append: (entry) => void group.push(entry) })
      this.#commit(group)
      this.transactions += 1
      return result
    } finally {
      closeTx(tx)
    }
  }

  readonly givenUp: OperationId[] = []

  giveUp(id: OperationId): void {
    this.givenUp.push(id)
  }

  append(entry: EntryDraft): Promise<void> {
    return Promise.resolve().then(() => this.#commit([entry]))
  }

  #commit(group: readonly EntryDraft[]): void {
    if (this.fail === 'before') throw gone()
    this.entries.push(...group)
    if (this.fail === 'after') throw gone()
  }
}

const allow: Decision = { effect: 'allow', rule: 'test', revision: 'test', reason: 'a test allows' }

/** A gate over a log in memory. `decide` defaults to allowing everything. */
export const memoryGate = (decide: Gate['decide'] = () => allow, log: MemoryLog = new MemoryLog()): Gate & { readonly log: MemoryLog } => ({ decide, log })

/** Runs `work` with a permit for `uses`, got in the only way there is: through `perform`. */
export async function withTestPermit<Result extends object>(uses: readonly KeyUse[], work: (permit: Permit) => Promise<Result>): Promise<Result> {
  const op = operation({
    name: 'test.permit',
    summary: 'Lends a test a permit.',
    effect: 'transient',
    input: z.unknown(),
    output: z.custom<Result>(),
    locate: () => Promise.resolve({}),
    uses: () => uses,
    facts: () => ({}),
    execute: (permit) => work(permit),
    respond: (_target, result: Result) => result,
  })
  return (await perform(memoryGate(), op, { caller: systemCaller('test'), body: {} })) as Result
}
