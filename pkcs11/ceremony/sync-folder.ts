import { readdirSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { syncPath } from '../../core/durable-file.ts'

/** Syncs every file below a folder, then the folders, the inner ones first, then the folder that holds it. SoftHSM itself never syncs. */
export function syncFolder(folder: string): void {
  syncBelow(folder)
  syncPath(dirname(folder))
}

function syncBelow(folder: string): void {
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    if (entry.isDirectory()) syncBelow(join(folder, entry.name))
    else if (entry.isFile()) syncPath(join(folder, entry.name))
  }
  syncPath(folder)
}
