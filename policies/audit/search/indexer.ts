import { PollLoop } from '../../../core/poll-loop.ts'
import { SEGMENT_ENTRIES } from './bits.ts'
import { readSegment, type ReadEntries } from './segment-reader.ts'
import type { TermStore } from './term-store.ts'

export interface IndexerSettings {
  readonly store: TermStore
  readonly read: ReadEntries
  /** Only the sequencer's leader indexes. */
  readonly leads: () => boolean
  /** Told of what will be tried again. */
  readonly onError?: (error: unknown) => void
}

const PAUSE_MS = 1000

/**
 * Puts whole segments into the index, behind the sequencer: the newest, and those of a log from before there was an index. A crash leaves a segment whole or
 * not there.
 */
export class Indexer {
  readonly #settings: IndexerSettings
  readonly #loop: PollLoop

  constructor(settings: IndexerSettings) {
    this.#settings = settings
    this.#loop = new PollLoop(() => this.#turn())
  }

  start(): void {
    this.#loop.start()
  }

  async stop(): Promise<void> {
    await this.#loop.stop()
  }

  /** Indexes the next whole segment. False when there is none. */
  async sealNext(): Promise<boolean> {
    const { store, read } = this.#settings
    const { sealed, generation, size, from } = await store.position()
    if (size < (sealed + 1) * SEGMENT_ENTRIES) return false
    await store.seal((await readSegment(sealed, read, from)).seal(), generation)
    return true
  }

  async #turn(): Promise<number> {
    if (!this.#settings.leads()) return PAUSE_MS
    try {
      return (await this.sealNext()) ? 0 : PAUSE_MS
    } catch (error) {
      this.#settings.onError?.(error)
      return PAUSE_MS
    }
  }
}
