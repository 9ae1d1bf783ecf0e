import { createRequire } from 'node:module'
import { pathToFileURL } from 'node:url'
import { Worker } from 'node:worker_threads'
import type { EntryDigest, ExportDigest } from '../policies/audit/entry-digest.ts'

export interface DigestJob {
  readonly kind: 'bundle' | 'lines'
  readonly bytes: Uint8Array
}

/** `refused`: the bytes are no bundle. */
export type DigestAnswer = { readonly digest: EntryDigest | ExportDigest } | { readonly refused: string }

interface Waiting {
  readonly resolve: (digest: never) => void
  readonly reject: (error: Error) => void
}

/** Threads that digest pieces of a log, so that every core works on it. Each answers in the order in which it was asked. */
export class DigestWorkers {
  readonly #workers: readonly { readonly worker: Worker; readonly waiting: Waiting[] }[]
  #failure: Error | undefined

  constructor(count: number) {
    this.#workers = Array.from({ length: count }, () => {
      const worker = startWorker('audit-digest-worker')
      const waiting: Waiting[] = []
      worker.on('message', (answer: DigestAnswer) => {
        const asked = waiting.shift()
        if ('digest' in answer) asked?.resolve(answer.digest as never)
        else asked?.reject(new RangeError(answer.refused))
      })
      worker.on('error', (error) => this.#fail(error instanceof Error ? error : new Error(String(error))))
      worker.on('exit', () => this.#fail(new Error('a thread of the verifier has ended')))
      return { worker, waiting }
    })
  }

  /** Throws a RangeError on bytes that are no bundle. The memory of the bytes moves to the thread. */
  readonly bundle = (bytes: Uint8Array): Promise<EntryDigest> => this.#ask({ kind: 'bundle', bytes })
  readonly lines = (bytes: Uint8Array): Promise<ExportDigest> => this.#ask({ kind: 'lines', bytes })

  async close(): Promise<void> {
    await Promise.all(this.#workers.map(({ worker }) => worker.terminate()))
  }

  #ask<Digest>({ kind, bytes }: DigestJob): Promise<Digest> {
    return new Promise<Digest>((resolve, reject) => {
      const least = this.#workers.toSorted((a, b) => a.waiting.length - b.waiting.length)[0]
      if (this.#failure !== undefined || least === undefined) return reject(this.#failure ?? new Error('there is no thread'))
      least.waiting.push({ resolve, reject })
      // A view of a larger buffer, such as of Node's pool, is copied: what lies beside it stays.
      const own = bytes.byteOffset === 0 && bytes.byteLength === bytes.buffer.byteLength ? bytes : Uint8Array.from(bytes)
      least.worker.postMessage({ kind, bytes: own } satisfies DigestJob, [own.buffer as ArrayBuffer])
    })
  }

  #fail(error: Error): void {
    this.#failure ??= error
    for (const { waiting } of this.#workers) for (const { reject } of waiting.splice(0)) reject(this.#failure)
  }
}

const IS_SOURCE = import.meta.url.endsWith('.ts')

function startWorker(name: string): Worker {
  const url = new URL(`./${name}${IS_SOURCE ? '.ts' : '.js'}`, import.meta.url)
  if (!IS_SOURCE) return new Worker(url)
  // Node 20 gives the loader of the main thread to no other thread.
  const loader = new URL('esm/api/index.mjs', pathToFileURL(createRequire(import.meta.url).resolve('tsx'))).href
  const start = `import(${JSON.stringify(loader)}).then(({ register }) => { register(); return import(${JSON.stringify(url.href)}) })`
  return new Worker(start, { eval: true, execArgv: [] })
}
