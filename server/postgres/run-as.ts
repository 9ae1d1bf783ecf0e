import { spawnSync } from 'node:child_process'
import { chownSync, existsSync, mkdtempSync, rmSync, statSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'

/** PostgreSQL refuses to run as root, so root runs it as somebody else. */
export interface RunAs {
  /** For people: `this user`, `root mapped to uid 65534`, `uid 65534`. */
  readonly name: string
  /** The program and arguments that run `program` in this way. */
  command(program: string, args: readonly string[]): readonly [string, ...string[]]
  /** Of the process; absent where it stays the caller's. */
  readonly ids?: { readonly uid: number; readonly gid: number }
}

const NOBODY = 65534

const plain: RunAs = { name: 'this user', command: (program, args) => [program, ...args] }

/** A user namespace: outside it is still root, so that it reads what only root may, and files stay root's; inside it has no powers. */
const mapped: RunAs = {
  name: `root mapped to uid ${NOBODY}`,
  command: (program, args) => ['unshare', '-U', `--map-user=${NOBODY}`, `--map-group=${NOBODY}`, '--', program, ...args],
}

const switched = (uid: number, gid: number): RunAs => ({ ...plain, name: `uid ${uid}`, ids: { uid, gid } })

/** How to run a cluster that exists: as its owner. */
export function ownerOf(cluster: string): RunAs {
  if (process.getuid?.() !== 0) return plain
  const { uid, gid } = statSync(cluster)
  return uid === 0 ? mapped : switched(uid, gid)
}

/** How to run a cluster that is to be made in `folder`: the first way that can run `program` and write there. Found out by trying. */
export function chooseRunAs(program: string, folder: string): RunAs {
  if (process.getuid?.() !== 0) return plain
  const { uid, gid } = statSync(folder)
  const candidates = [mapped, ...(uid === 0 ? [] : [switched(uid, gid)]), switched(NOBODY, NOBODY)]
  const found = candidates.find((candidate) => works(candidate, program, folder))
  if (found !== undefined) return found
  const closed = closedFolder(program) ?? closedFolder(folder)
  throw new Error(
    `PostgreSQL does not run as root, and no other user of this machine can run ${program} and write below ${folder}` +
      (closed === undefined ? '.' : `: other users cannot enter ${closed} (chmod o+x ${closed}).`) +
      ' Run the service as an ordinary user, or set DATABASE_URL.',
  )
}

function works(candidate: RunAs, program: string, folder: string): boolean {
  const trial = mkdtempSync(join(folder, 'trial-'))
  try {
    give(trial, candidate)
    const [command, ...args] = candidate.command('/bin/sh', ['-c', 'test -w "$1" && exec "$0" --version', program, trial])
    return spawnSync(command, args, { ...candidate.ids, cwd: '/', stdio: 'ignore', timeout: 10_000 }).status === 0
  } finally {
    rmSync(trial, { recursive: true })
  }
}

/** Makes a file or folder the property of who runs the server. */
export function give(path: string, { ids }: RunAs): void {
  if (ids !== undefined) chownSync(path, ids.uid, ids.gid)
}

/** The outermost folder on the way to `path` that other users cannot enter. */
export function closedFolder(path: string): string | undefined {
  const parents: string[] = []
  for (let folder = dirname(resolve(path)); ; folder = dirname(folder)) {
    parents.unshift(folder)
    if (folder === dirname(folder)) break
  }
  return parents.find((folder) => existsSync(folder) && (statSync(folder).mode & 0o001) === 0)
}
