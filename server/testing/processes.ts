import { readdirSync, readFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'

/** What tests that kill look up in /proc (Linux). */

/** The processes that this one started, and those that they started. */
export function descendantsOf(pid: number): number[] {
  const parents = new Map(readdirSync('/proc').flatMap((name) => (/^\d+$/.test(name) ? [[Number(name), parentOf(Number(name))] as const] : [])))
  const found: number[] = []
  for (let generation = [pid]; generation.length > 0; ) {
    generation = [...parents].filter(([, parent]) => parent !== undefined && generation.includes(parent)).map(([child]) => child)
    found.push(...generation)
  }
  return found
}

/** The lanes of a service. */
export const lanesOf = (service: number): number[] => descendantsOf(service).filter((pid) => commandOf(pid).includes('lane-process'))

/** kill -9. One that is gone already is as it should be. */
export function killNow(pids: readonly number[]): void {
  for (const pid of pids) {
    try {
      process.kill(pid, 'SIGKILL')
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error
    }
  }
}

/** Polls until it answers something. Throws when `timeoutMs` are over. */
export async function eventually<Value>(
  what: string,
  look: () => Value | undefined | Promise<Value | undefined>,
  { timeoutMs = 20_000, everyMs = 50 } = {},
): Promise<Value> {
  const deadline = performance.now() + timeoutMs
  for (;;) {
    const found = await look()
    if (found !== undefined) return found
    if (performance.now() > deadline) throw new Error(`not within ${String(timeoutMs)} ms: ${what}`)
    await sleep(everyMs)
  }
}

function commandOf(pid: number): string {
  try {
    return readFileSync(`/proc/${String(pid)}/cmdline`, 'utf8').replaceAll('\0', ' ')
  } catch {
    return ''
  }
}

/** proc(5): the fourth field, counted behind the name in parentheses. */
function parentOf(pid: number): number | undefined {
  try {
    const line = readFileSync(`/proc/${String(pid)}/stat`, 'utf8')
    return Number(line.slice(line.lastIndexOf(')') + 2).split(' ')[1])
  } catch {
    return undefined
  }
}
