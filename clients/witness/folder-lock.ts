import { spawn } from 'node:child_process'
import { join } from 'node:path'

/** A folder that one process holds. */
export interface FolderLock {
  /** Resolves when the lock is gone, released or lost: who held it must not go on. */
  readonly gone: Promise<void>
  release(): void
}

const HELD = 75

/**
 * Takes flock(2) on `lock` in the folder, or answers undefined where another process has it. Node has no call for it: flock(1) of util-linux holds it, in a
 * process that ends with its standard input, hence with this process however that ends.
 */
export async function lockFolder(folder: string): Promise<FolderLock | undefined> {
  const args = ['--no-fork', '--nonblock', '--conflict-exit-code', String(HELD), join(folder, 'lock'), 'sh', '-c', 'echo held; exec cat >/dev/null']
  // A group of its own: Ctrl-C on the terminal is for us alone.
  const holder = spawn('flock', args, { stdio: ['pipe', 'pipe', 'inherit'], detached: true })
  const gone = new Promise<number | null>((resolve, reject) => {
    holder.once('exit', resolve)
    holder.once('error', (error) => reject(new Error(`flock(1) of util-linux is needed: ${error.message}`)))
  })
  const isHeld = await Promise.race([new Promise<true>((resolve) => holder.stdout.once('data', () => resolve(true))), gone])
  if (isHeld === HELD) return undefined
  if (isHeld !== true) throw new Error(`flock ended with ${String(isHeld)}`)
  return { gone: gone.then(() => undefined), release: () => void holder.stdin.end() }
}
