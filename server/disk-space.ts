import { statfs } from 'node:fs/promises'

const MIB = 1024 * 1024

/** What is wrong with the room of a folder's file system, where less than `leastMib` is left to who is not root. */
export function diskNearlyFull(folder: string, leastMib: number): () => Promise<string | undefined> {
  return async () => {
    const { bavail, bsize } = await statfs(folder)
    const freeMib = Math.floor((bavail * bsize) / MIB)
    return freeMib < leastMib ? `${String(freeMib)} MiB are free; it should be ${String(leastMib)} at least` : undefined
  }
}
