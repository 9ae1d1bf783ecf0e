import { parseCheckpoint, NoteError } from './checkpoint.ts'
import type { HeadAnchor } from './head-anchor.ts'
import { splitNote } from './note.ts'

/** What the token does for it. */
export interface HeadKeeper {
  keepHead(origin: string, note: string): Promise<void>
  /** None, one, or what a crash left. */
  readHeads(origin: string): Promise<string[]>
}

/**
 * The token as a place for the last signed checkpoint. It is slow and its flash wears, so it is written at most every `everyMs`, in the background, and when the log
 * stops in order: after a crash it is behind by so much. A token that cannot keep it, or is away, is told to `onError` when that begins; the other anchors do.
 */
export function tokenHead({
  keeper,
  origin,
  everyMs,
  onError,
}: {
  readonly keeper: HeadKeeper
  readonly origin: string
  readonly everyMs: number
  readonly onError: (error: unknown) => void
}): HeadAnchor {
  let pending: string | undefined
  let lastMs = Number.NEGATIVE_INFINITY
  let timer: NodeJS.Timeout | undefined
  let writing: Promise<void> = Promise.resolve()
  let failure: string | undefined

  const put = (): Promise<void> => {
    clearTimeout(timer)
    timer = undefined
    writing = writing.then(async () => {
      const note = pending
      if (note === undefined) return
      pending = undefined
      lastMs = performance.now()
      try {
        await keeper.keepHead(origin, note)
        failure = undefined
      } catch (error) {
        pending ??= note
        const reason = error instanceof Error ? error.message : String(error)
        if (failure !== reason)
          onError(new Error(`the token does not keep the log\u2019s last signed checkpoint, the other places do: ${reason}`, { cause: error }))
        failure = reason
      }
    })
    return writing
  }

  return {
    name: 'the token',
    read: async () => {
      const heads = await keeper.readHeads(origin)
      return heads.reduce<string | undefined>((best, note) => (best === undefined || sizeOf(note) > sizeOf(best) ? note : best), undefined)
    },
    write: (note) => {
      pending = note
      const waitMs = lastMs + everyMs - performance.now()
      if (waitMs <= 0) void put()
      else timer ??= setTimeout(() => void put(), waitMs).unref()
      return Promise.resolve()
    },
    flush: put,
  }
}

/** What cannot be read counts as the largest: it is looked at, and refused. */
function sizeOf(note: string): number {
  try {
    return parseCheckpoint(splitNote(note).text).size
  } catch (error) {
    if (error instanceof NoteError) return Number.POSITIVE_INFINITY
    throw error
  }
}
