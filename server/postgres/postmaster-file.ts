import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

/** The process id of the cluster's server, if it lives. */
export function serverPid(cluster: string): number | undefined {
  const pid = readPid(cluster)
  return pid !== undefined && isServer(pid) ? pid : undefined
}

/** Where there is no /proc to look the program up, any living process counts. */
const isServer = (pid: number): boolean => pid !== process.pid && isAlive(pid) && (stat(pid)?.program ?? 'postgres') === 'postgres'

/** What the cluster's `postmaster.pid` says. The process may be long gone, and its number another's. */
function readPid(cluster: string): number | undefined {
  try {
    const pid = Number.parseInt(readFileSync(join(cluster, 'postmaster.pid'), 'utf8'), 10)
    return pid > 0 ? pid : undefined
  } catch {
    return undefined
  }
}

/** Whether the process lives. One that has ended and is not yet collected by its parent does not. */
export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM'
  }
  return stat(pid)?.after[0] !== 'Z'
}

/**
 * After a restart of a container the number in `postmaster.pid` can be that of an unrelated process, or of a dead one that nobody collects, and PostgreSQL
 * would refuse to start for ever. The file must stay, because PostgreSQL checks through it that no child of the old server still runs. So the number becomes
 * that of this process: PostgreSQL knows that its own parent is not a server.
 */
export function disownStalePid(cluster: string): void {
  const pid = readPid(cluster)
  if (pid === undefined || pid === process.pid || !existsSync('/proc/self/stat')) return
  if (isServer(pid)) return
  const path = join(cluster, 'postmaster.pid')
  try {
    writeFileSync(path, readFileSync(path, 'utf8').replace(/^\d+/, String(process.pid)))
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
  }
}

/** From /proc/PID/stat (proc(5)): the program's name, and the fields after it, from the state on. Undefined where there is no /proc. */
function stat(pid: number): { readonly program: string; readonly after: readonly string[] } | undefined {
  try {
    const line = readFileSync(`/proc/${pid}/stat`, 'utf8')
    const end = line.lastIndexOf(')')
    return { program: line.slice(line.indexOf('(') + 1, end), after: line.slice(end + 2).split(' ') }
  } catch {
    return undefined
  }
}

/** A process for good: its number, and when it started, since numbers are used again. */
export const processMark = (pid: number): string => `${pid} ${stat(pid)?.after[19] ?? ''}`.trim()

/** Whether the process that {@link processMark} named still lives. */
export function isMarkedAlive(mark: string): boolean {
  const pid = Number.parseInt(mark, 10)
  return pid > 0 && isAlive(pid) && processMark(pid) === mark
}
