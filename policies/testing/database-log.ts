import type { Tx } from '../../core/tx.ts'
import type { EntryDraft, LogTx } from '../audit/log.ts'
import { MemoryLog } from './memory-gate.ts'

/** A log in memory whose transactions are the database's: entries are kept when rows are. */
export class DatabaseLog extends MemoryLog {
  readonly #transact: <Result>(work: (tx: Tx) => Promise<Result>) => Promise<Result>

  constructor({ transact }: { transact<Result>(work: (tx: Tx) => Promise<Result>): Promise<Result> }) {
    super()
    this.#transact = transact
  }

  override async transact<Result>(work: (log: LogTx) => Promise<Result>): Promise<Result> {
    const group: EntryDraft[] = []
    const result = await this.#transact((tx) => work({ tx, append: (entry) => void group.push(entry) }))
    this.entries.push(...group)
    this.transactions += 1
    return result
  }
}
