import { createServer, type IncomingMessage, type Server } from 'node:http'
import { ADD_CHECKPOINT_PATH, MAX_REQUEST_BYTES } from '../../policies/audit/witness-request.ts'
import { addCheckpoint } from './witness.ts'
import type { WitnessFolder } from './witness-folder.ts'

/** Requests a second that are looked at, over all: a check of a signature costs some 0.1 ms, a record some milliseconds of the disk. */
const RATE = 100
const BURST = 200
const MAX_CONNECTIONS = 128

type Answer = { readonly status: number; readonly type: string; readonly body: string }
const plain = (status: number, body: string): Answer => ({ status, type: 'text/plain; charset=utf-8', body: `${body}\n` })

/** HTTP of a witness. What goes wrong inside is told to `onError`, and answered by 500 without a word of it. */
export function witnessServer({
  folder,
  onError,
  nowMs = Date.now,
  requestTimeoutMs = 10_000,
}: {
  readonly folder: WitnessFolder
  readonly onError: (error: unknown) => void
  readonly nowMs?: () => number
  /** How long a request may take to arrive. Default 10,000. */
  readonly requestTimeoutMs?: number
}): Server {
  const bucket = rateBucket()
  const answer = async (request: IncomingMessage): Promise<Answer> => {
    if (request.url !== ADD_CHECKPOINT_PATH) return plain(404, 'nothing here')
    if (request.method !== 'POST') return plain(405, 'POST only')
    if (!bucket()) return plain(429, 'too many requests')
    const body = await readBody(request)
    if (body === undefined) return plain(413, `a request has at most ${MAX_REQUEST_BYTES} bytes`)
    return addCheckpoint(body, { state: folder, cosign: (text) => folder.cosign(text, nowMs()) })
  }
  const server = createServer(
    { requestTimeout: requestTimeoutMs, headersTimeout: requestTimeoutMs, connectionsCheckingInterval: 500, keepAliveTimeout: 75_000, maxHeaderSize: 8192 },
    (request, response) => {
      answer(request)
        .catch((error: unknown) => {
          if (!request.complete) throw error
          onError(error)
          return plain(500, 'the witness failed')
        })
        .then(({ status, type, body }) => {
          const isWhole = request.complete
          response.writeHead(status, { 'content-type': type, 'content-length': Buffer.byteLength(body), ...(isWhole ? {} : { connection: 'close' }) }).end(body)
          if (!isWhole) request.resume()
        })
        .catch(() => response.destroy())
    },
  )
  server.maxConnections = MAX_CONNECTIONS
  return server
}

/** Undefined: it is too long. Rejects when the connection is lost on the way. */
async function readBody(request: IncomingMessage): Promise<string | undefined> {
  const chunks: Buffer[] = []
  let length = 0
  for await (const chunk of request as AsyncIterable<Buffer>) {
    length += chunk.length
    if (length > MAX_REQUEST_BYTES) return undefined
    chunks.push(chunk)
  }
  return Buffer.concat(chunks).toString('utf8')
}

function rateBucket(): () => boolean {
  let tokens = BURST
  let atMs = performance.now()
  return () => {
    const now = performance.now()
    tokens = Math.min(BURST, tokens + ((now - atMs) / 1000) * RATE)
    atMs = now
    if (tokens < 1) return false
    tokens -= 1
    return true
  }
}
