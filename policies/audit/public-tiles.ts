import { Problem } from '../../core/problem.ts'
import { lastSigned, type Signed, type SignedLog } from './operations/export.ts'
import { type TilePath, widthIn } from './tile-path.ts'

/** What C2SP tlog-tiles serves of the log to anybody: its checkpoint and hash tiles. Entries name people and callers: they are not among it. */
export interface PublicTiles {
  /** The last signed note; undefined before the first. */
  checkpoint(): Promise<string | undefined>
  /** A hash tile that the last signed checkpoint covers, cut to its width; undefined for any other. Throws `integrity-failed` where the database has it not. */
  tile(path: TilePath): Promise<Uint8Array | undefined>
}

/** How old a checkpoint may be that is given again: whoever asks, the database is asked less often. */
const FRESH_MS = 250

/** `noteOf`: what the signed note is given as, such as with cosignatures. Default as it stands. */
export function publicTiles(log: SignedLog, noteOf: (signed: Signed) => string | Promise<string> = ({ note }) => note): PublicTiles {
  let held: { readonly at: number; readonly signed: Promise<Signed | undefined>; note?: Promise<string | undefined> } | undefined
  const heldNow = (): NonNullable<typeof held> => {
    if (held !== undefined && performance.now() - held.at < FRESH_MS) return held
    const asked = { at: performance.now(), signed: lastSigned(log) }
    held = asked
    asked.signed.catch(() => forget(asked))
    return asked
  }
  const forget = (asked: typeof held): void => {
    if (held === asked) held = undefined
  }
  return {
    checkpoint: () => {
      const now = heldNow()
      if (now.note === undefined) {
        now.note = now.signed.then((signed) => signed && noteOf(signed))
        now.note.catch(() => forget(now))
      }
      return now.note
    },
    tile: async (path) => {
      const { level, index, width } = path
      if (level === 'entries' || width > widthIn((await heldNow().signed)?.checkpoint.size ?? 0, path)) return undefined
      const hashes = (await log.reader.tiles([{ level, index }]))[0]?.hashes.subarray(0, 32 * width)
      if (hashes?.length !== 32 * width) throw new Problem('integrity-failed', `The audit log's tile ${level}/${index} is not as wide as its signed tree.`)
      return hashes
    },
  }
}
