import { existsSync, readFileSync, rmSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { syncPath, writeDurably } from '../core/durable-file.ts'
import { Problem } from '../core/problem.ts'
import { encodeBackup, parseBackup, type TokenBackup } from './backup-file.ts'

/**
 * What a ceremony on a token left for the database, kept in the data folder until the database has it: `token-backup.json`. Not trusted: its rows are sealed.
 * It is written before the token says that the ceremony has come to its end, and removed after the rows are committed.
 */
export class PendingBackup {
  readonly #path: string

  constructor(dataFolder: string) {
    this.#path = join(resolve(dataFolder), 'token-backup.json')
  }

  /** Throws `integrity-failed` on a file that it cannot read. */
  read(): TokenBackup | undefined {
    if (!existsSync(this.#path)) return undefined
    try {
      return parseBackup(readFileSync(this.#path, 'utf8'))
    } catch (error) {
      throw new Problem('integrity-failed', `${this.#path} is damaged: the backup of keys that the database does not have yet. Restore the file from a copy.`, {
        cause: error,
      })
    }
  }

  write(backup: TokenBackup, madeAt: string): void {
    writeDurably(this.#path, encodeBackup(backup, madeAt))
  }

  remove(): void {
    if (!existsSync(this.#path)) return
    rmSync(this.#path)
    syncPath(dirname(this.#path))
  }
}
