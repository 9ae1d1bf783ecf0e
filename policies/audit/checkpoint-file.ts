import { open, readFile, rename } from 'node:fs/promises'
import { dirname } from 'node:path'
import type { HeadAnchor } from './head-anchor.ts'

/** What it is called to people. */
export const CHECKPOINT_FILE = 'the checkpoint file'

/** A file beside the data: temporary file, fsync, rename, fsync of the folder. */
export const checkpointFile = (path: string): HeadAnchor => ({
  name: CHECKPOINT_FILE,
  read: async () => {
    try {
      return await readFile(path, 'utf8')
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
      throw error
    }
  },
  write: async (note) => {
    const temporary = `${path}.new`
    await synced(temporary, 'w', (file) => file.writeFile(note))
    await rename(temporary, path)
    await synced(dirname(path), 'r', () => Promise.resolve())
  },
})

async function synced(path: string, flags: 'w' | 'r', work: (file: Awaited<ReturnType<typeof open>>) => Promise<void>): Promise<void> {
  const file = await open(path, flags, 0o600)
  try {
    await work(file)
    await file.sync()
  } finally {
    await file.close()
  }
}
