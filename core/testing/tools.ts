import { existsSync } from 'node:fs'
import { delimiter, join } from 'node:path'

const isThere = (program: string): boolean => (process.env['PATH'] ?? '').split(delimiter).some((folder) => existsSync(join(folder, program)))

/** Whether tests that call these programs are to run: where they are there, and always in CI, in which a missing one is a failure and not a skip. */
export const canRun = (...programs: readonly string[]): boolean => process.env['CI'] !== undefined || programs.every(isThere)
