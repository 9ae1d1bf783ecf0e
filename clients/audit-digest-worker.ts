import { parentPort } from 'node:worker_threads'
import { digestBundle, digestLines } from '../policies/audit/entry-digest.ts'
import type { DigestAnswer, DigestJob } from './audit-workers.ts'

// A thread that digests pieces of a log, one after another.
parentPort?.on('message', ({ kind, bytes }: DigestJob) => {
  try {
    const digest = kind === 'bundle' ? digestBundle(bytes) : digestLines(bytes)
    const { leaves, kinds, writers } = digest
    answer({ digest }, [leaves.buffer, kinds.buffer, writers.buffer] as ArrayBuffer[])
  } catch (error) {
    if (!(error instanceof RangeError)) throw error
    answer({ refused: error.message })
  }
})

function answer(message: DigestAnswer, moved: readonly ArrayBuffer[] = []): void {
  parentPort?.postMessage(message, moved)
}
