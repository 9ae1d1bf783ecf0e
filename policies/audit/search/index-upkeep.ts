import { checkIndex, type IndexFinding } from './index-check.ts'
import { Indexer } from './indexer.ts'
import type { ReadEntries } from './segment-reader.ts'
import type { TermStore } from './term-store.ts'

/** What one can do about the index, whoever leads. */
export interface IndexUpkeep {
  /** Each difference between the index and the entries, with how far it has looked in between. See {@link checkIndex}. */
  check(from?: number): AsyncGenerator<IndexFinding | { readonly checked: number; readonly of: number }>
  /** Throws the index away and makes it again. Entries that are not in it are meanwhile found as far as the log's end is in memory. */
  renew(onSealed?: (segments: number) => void): Promise<void>
  /** Puts all whole segments into the index that are not there yet. */
  complete(onSealed?: (segments: number) => void): Promise<void>
}

export function indexUpkeep({ store, read }: { readonly store: TermStore; readonly read: ReadEntries }): IndexUpkeep {
  const indexer = new Indexer({ store, read, leads: () => false })
  const complete: IndexUpkeep['complete'] = async (onSealed) => {
    for (let segments = 1; await indexer.sealNext(); segments += 1) onSealed?.(segments)
  }
  return {
    check: (from) => checkIndex({ store, read, ...(from === undefined ? {} : { from }) }),
    renew: async (onSealed) => {
      await store.clear()
      await complete(onSealed)
    },
    complete,
  }
}
