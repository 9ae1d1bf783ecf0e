import { closeSync, fsyncSync, mkdirSync, openSync, renameSync, writeFileSync } from 'node:fs'
import { dirname } from 'node:path'

/** Files that only we may read (mode 0600) and that are on disk when the call returns. The one place in core/ that touches the disk: three folders need it. */

/** Writes a file whole or not at all: temporary file, sync, rename, sync of the folder. The folder is made (0700) when it is not there. */
export function writeDurably(path: string, content: string | Uint8Array): void {
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 })
  const temporary = `${path}.new`
  writeSynced(temporary, 'w', content)
  renameSync(temporary, path)
  syncPath(dirname(path))
}

/** Writes a file that is not there yet. Throws when it is. */
export function createDurably(path: string, content: string | Uint8Array): void {
  writeSynced(path, 'wx', content)
  syncPath(dirname(path))
}

/** Syncs what is at a path, file or folder. */
export function syncPath(path: string): void {
  const file = openSync(path, 'r')
  try {
    fsyncSync(file)
  } finally {
    closeSync(file)
  }
}

function writeSynced(path: string, flags: 'w' | 'wx', content: string | Uint8Array): void {
  const file = openSync(path, flags, 0o600)
  try {
    writeFileSync(file, content)
    fsyncSync(file)
  } finally {
    closeSync(file)
  }
}
