import type { IncomingMessage } from 'node:http'
import { Problem } from '../core/problem.ts'
import type { Route } from '../policies/operation.ts'

const DEFAULT_MAX_BYTES = 1024 * 1024
const FIRST_BYTES = 4096

export interface BodyPatience {
  /** How long a caller may take to send a whole body. Default 60,000. */
  readonly totalMs?: number
  /** How long it may send nothing in between. Default 10,000. */
  readonly idleMs?: number
}

/**
 * The body of a POST as the fields it fills: a JSON object, or, where the route takes text, one field of text.
 * Throws `media-type-unsupported`, `body-too-large` (before reading on), `request-invalid` (not UTF-8, not JSON, not an object).
 */
export async function readBody(
  request: IncomingMessage,
  route: Pick<Route, 'textBody' | 'maxBodyBytes'>,
  patience: BodyPatience = {},
): Promise<Record<string, unknown>> {
  const type = (request.headers['content-type'] ?? '').split(';', 1)[0]?.trim().toLowerCase() ?? ''
  if (!hasBody(request) && type === '') return {}
  const isText = route.textBody !== undefined && type === 'text/plain'
  if (type !== 'application/json' && !isText) {
    throw new Problem(
      'media-type-unsupported',
      `Send application/json${route.textBody === undefined ? '' : ' or text/plain'}, and say so in the content-type header.`,
    )
  }
  const encoding = request.headers['content-encoding']
  if (encoding !== undefined && encoding !== 'identity') throw new Problem('media-type-unsupported', 'Send the body without a content encoding.')

  const text = decode(await readBytes(request, route.maxBodyBytes ?? DEFAULT_MAX_BYTES, patience))
  if (isText) {
    assertNoNul(text)
    return { [route.textBody ?? '']: text }
  }
  if (hasEscapedNul(text)) throw nul()
  const value = parseJson(text)
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw new Problem('request-invalid', 'The body is to be a JSON object.')
  return value as Record<string, unknown>
}

/** Of JSON text: an escape is one behind an even number of backslashes. */
function hasEscapedNul(text: string): boolean {
  for (let at = text.indexOf('\\u0000'); at >= 0; at = text.indexOf('\\u0000', at + 6)) {
    let first = at
    while (text[first - 1] === '\\') first--
    if ((at - first) % 2 === 0) return true
  }
  return false
}

const nul = (): Problem => new Problem('request-invalid', 'No text may hold the character U+0000.')

/** Nothing that is stored can hold it: PostgreSQL has no such text. Throws `request-invalid`. */
export function assertNoNul(text: string): void {
  if (text.includes('\0')) throw nul()
}

/** By its head: the body itself may still be on its way. */
export function hasBody({ headers }: IncomingMessage): boolean {
  return headers['transfer-encoding'] !== undefined || (headers['content-length'] ?? '0') !== '0'
}

/** How long what nobody reads may still come, so that the answer arrives before the connection is cut. */
const LINGER_MS = 1000

/** After the answer to a request whose body was not read to its end: the rest is thrown away for a moment, then the connection is cut. */
export function dropRest(request: IncomingMessage): void {
  if (request.complete || request.destroyed) return
  request.resume()
  const timer = setTimeout(() => request.socket.destroy(), LINGER_MS)
  request.once('end', () => clearTimeout(timer))
  request.socket.once('close', () => clearTimeout(timer))
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    throw new Problem('request-invalid', 'The body is not JSON (RFC 8259).')
  }
}

function decode(bytes: Buffer): string {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes)
  } catch {
    throw new Problem('request-invalid', 'The body is not UTF-8.')
  }
}

function readBytes(request: IncomingMessage, maxBytes: number, { totalMs = 60_000, idleMs = 10_000 }: BodyPatience): Promise<Buffer> {
  const tooLarge = (): Problem => new Problem('body-too-large', `The body may have ${String(maxBytes)} bytes here.`)
  return new Promise((resolve, reject) => {
    if (Number(request.headers['content-length'] ?? 0) > maxBytes) {
      reject(tooLarge())
      return
    }
    // One buffer that grows: a chunk of one byte, kept as it came, takes hundreds.
    let held = Buffer.alloc(Math.min(maxBytes, FIRST_BYTES))
    let total = 0
    const onLate = (): void => {
      fail(new Problem('request-invalid', 'The body did not come in time.'))
    }
    const timer = setTimeout(onLate, totalMs)
    const idle = setTimeout(onLate, idleMs)
    const onData = (chunk: Buffer): void => {
      idle.refresh()
      const end = total + chunk.length
      if (end > maxBytes) {
        fail(tooLarge())
        return
      }
      if (end > held.length) held = Buffer.concat([held.subarray(0, total)], Math.min(maxBytes, Math.max(end, 2 * held.length)))
      chunk.copy(held, total)
      total = end
    }
    const onEnd = (): void => {
      stop()
      resolve(held.subarray(0, total))
    }
    const onError = (): void => {
      fail(new Problem('request-invalid', 'The connection ended before the body did.'))
    }
    const stop = (): void => {
      clearTimeout(timer)
      clearTimeout(idle)
      request.off('data', onData).off('end', onEnd).off('error', onError).off('aborted', onError)
    }
    const fail = (problem: Problem): void => {
      stop()
      request.on('error', () => undefined)
      request.pause()
      reject(problem)
    }
    request.on('data', onData).on('end', onEnd).on('error', onError).on('aborted', onError)
  })
}
