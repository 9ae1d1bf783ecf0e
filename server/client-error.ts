import type { IncomingMessage, Server, ServerResponse } from 'node:http'
import type { Duplex } from 'node:stream'
import { newOperationId } from '../core/ids.ts'
import { Problem } from '../core/problem.ts'
import { PROBLEM_JSON, problemBody } from './problem-details.ts'

/** What Node's parser and timers say of a request that never became one. */
const DETAILS: Readonly<Record<string, string>> = {
  HPE_HEADER_OVERFLOW: 'The head of the request is too long. Send less than 16 KiB of it.',
  HPE_CHUNK_EXTENSIONS_OVERFLOW: 'The chunk extensions are too long. Send none.',
  ERR_HTTP_REQUEST_TIMEOUT: 'The request did not come in time. Send it again, without pauses.',
}
const NOT_HTTP = 'The request is not HTTP/1.1, or says its length in two ways (RFC 9112). Nothing of it was done.'
/** How long the rest may still come, so that the answer arrives before the connection is cut. */
const LINGER_MS = 1000

/**
 * Answers what cannot be read as a request with a problem too, and closes the connection: where it went out of step, nobody can say where the next request begins.
 * Answers to requests that came whole before it on the same connection go first.
 */
export function answerUnreadable(server: Server, countEarlyFailure: (source: string, code: string) => void): void {
  const latest = new WeakMap<Duplex, ServerResponse>()
  server.on('request', (request: IncomingMessage, response: ServerResponse) => void latest.set(request.socket, response))
  server.on('clientError', (error: NodeJS.ErrnoException, socket: Duplex & { readonly remoteAddress?: string }) => {
    const before = latest.get(socket)
    const finish = (): void => {
      if (!socket.writable || (before?.headersSent === true && !before.writableFinished)) return void socket.destroy()
      socket.on('error', () => undefined)
      socket.end(answerTo(error))
      socket.resume()
      setTimeout(() => socket.destroy(), LINGER_MS).unref()
      countEarlyFailure(socket.remoteAddress ?? 'unknown', 'request-invalid')
      return undefined
    }
    if (before?.req.complete === true && !before.writableFinished) before.once('close', finish)
    else finish()
  })
}

function answerTo({ code = '' }: NodeJS.ErrnoException): string {
  const problem = new Problem('request-invalid', DETAILS[code] ?? NOT_HTTP)
  const body = problemBody(problem, newOperationId())
  return `HTTP/1.1 ${String(problem.status)} Bad Request\r\nContent-Type: ${PROBLEM_JSON}\r\nContent-Length: ${String(Buffer.byteLength(body))}\r\nCache-Control: no-store\r\nConnection: close\r\n\r\n${body}`
}
