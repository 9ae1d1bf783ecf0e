import { closeSync, fsyncSync, openSync, readdirSync, writeSync } from 'node:fs'
import { dirname, join } from 'node:path'

function sync(path: string): void {
  const file = openSync(path, 'r')
  try {
    fsyncSync(file)
  } finally {
    closeSync(file)
  }
}

/** Syncs every file below a folder, then the folders, the inner ones first, then the folder that holds it. SoftHSM itself never syncs. */
export function syncFolder(folder: string): void {
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    if (entry.isDirectory()) syncBelow(join(folder, entry.name))
    else if (entry.isFile()) sync(join(folder, entry.name))
  }
  sync(folder)
  sync(dirname(folder))
}

function syncBelow(folder: string): void {
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    if (entry.isDirectory()) syncBelow(join(folder, entry.name))
    else if (entry.isFile()) sync(join(folder, entry.name))
  }
  sync(folder)
}

/** Writes a new file of mode 0600 and syncs it and its folder. Throws when it is there. */
export function writeSecretFile(path: string, text: string): void {
  const file = openSync(path, 'wx', 0o600)
  try {
    writeSync(file, text)
    fsyncSync(file)
  } finally {
    closeSync(file)
  }
  sync(dirname(path))
}
