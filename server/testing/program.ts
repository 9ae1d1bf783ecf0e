import { execFileSync } from 'node:child_process'
import { PROGRAM_VARIABLE } from '../../clients/site.ts'

/**
 * Vitest calls it once before end-to-end tests: they run the compiled program, which starts in half the time of the sources. It is compiled here, so that it is
 * what the sources say.
 */
export function setup(): void {
  execFileSync(process.execPath, ['setup.mjs', '--build'], { stdio: 'inherit' })
  process.env[PROGRAM_VARIABLE] = new URL('../../dist/server/cli/gridseal.js', import.meta.url).pathname
}
