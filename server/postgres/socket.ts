import { mkdtempSync, rmSync, symlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

const SOCKET = '.s.PGSQL.5432'
/** The system refuses longer ones: 107 bytes on Linux, 103 on macOS. */
const LONGEST_PATH_BYTES = 103

/** The folder that clients name to reach the socket inside `cluster`. `release` when no connection is to be opened any more. */
export interface SocketFolder {
  readonly path: string
  release(): void
}

/** A cluster whose path is too long for a socket is reached by a link in a fresh folder that only this user enters. */
export function socketFolder(cluster: string, temporary = tmpdir()): SocketFolder {
  if (Buffer.byteLength(join(cluster, SOCKET)) <= LONGEST_PATH_BYTES) return { path: cluster, release: () => undefined }
  const folder = mkdtempSync(join(temporary, 'gridseal-'))
  const path = join(folder, 'pg')
  symlinkSync(cluster, path)
  return { path, release: () => rmSync(folder, { recursive: true, force: true }) }
}
