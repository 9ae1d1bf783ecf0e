import { closeSync, constants, fstatSync, openSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { TileSource } from '../policies/audit/tile-source.ts'

/** A tlog-tiles log in a folder. Read at once: of many small files, waiting for each costs more than reading it. */
export const folderSource = (folder: string): TileSource => ({
  read: (path) => Promise.resolve(readIfThere(join(folder, path))),
})

/** Throws for what is no file, or longer than any of a log: a folder may hold links to devices, and pipes that never end. */
function readIfThere(path: string): Uint8Array | undefined {
  let file: number
  try {
    file = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT' || (error as NodeJS.ErrnoException).code === 'ENOTDIR') return undefined
    throw error
  }
  try {
    const found = fstatSync(file)
    if (!found.isFile()) throw new Error(`${path} is no file`)
    if (found.size > MAX_BUNDLE_BYTES) throw new Error(`${path} is too long`)
    return readFileSync(file)
  } finally {
    closeSync(file)
  }
}

/** Of a full bundle of the longest entries: no file of a log is longer. */
export const MAX_BUNDLE_BYTES = 256 * 65_537
const TIMEOUT_MS = 30_000

/** A tlog-tiles log on a web server. `prefix`: with or without its last slash. */
const webSource = (prefix: string): TileSource => ({
  read: async (path) => {
    const url = `${prefix.replace(/\/+$/, '')}/${path}`
    const response = await fetch(url, { signal: AbortSignal.timeout(TIMEOUT_MS) }).catch((error: unknown) => {
      throw new Error(`${url} does not answer: ${error instanceof Error ? error.message : String(error)}`, { cause: error })
    })
    if (response.status === 404 || response.status === 410) {
      await response.body?.cancel()
      return undefined
    }
    if (!response.ok || response.body === null) throw new Error(`${url} answers ${response.status}`)
    const chunks: Uint8Array[] = []
    let bytes = 0
    for await (const chunk of response.body as AsyncIterable<Uint8Array>) {
      bytes += chunk.length
      if (bytes > MAX_BUNDLE_BYTES) throw new Error(`${url} is too long`)
      chunks.push(chunk)
    }
    return Uint8Array.from(Buffer.concat(chunks))
  },
})

/** A folder, or the URL of a web server. */
export const sourceAt = (log: string): TileSource => (isUrl(log) ? webSource(log) : folderSource(log))

export const isUrl = (log: string): boolean => /^https?:\/\//.test(log)
