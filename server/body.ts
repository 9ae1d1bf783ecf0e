import type { IncomingMessage } from 'node:http'
import { Problem } from '../core/problem.ts'
import type { Route } from '../policies/operation.ts'

const DEFAULT_MAX_BYTES = 1024 * 1024
/** How long a caller may take to send a body. */
const BODY_TIMEOUT_MS = 60_000

/**
 * The body of a POST as the fields it fills: a JSON object, or, where the route takes text, one field of text.
 * Throws `media-type-unsupported`, `body-too-large` (before reading on), `request-invalid` (not UTF-8, not JSON, not an object).
 */
export async function readBody(request: IncomingMessage, route: Route): Promise<Record<string, unknown>> {
  const type = (request.headers['content-type'] ?? '').split(';', 1)[0]?.trim().toLowerCase() ?? ''
  const length = request.headers['content-length']
  const isEmpty = length === '0' || (length === undefined && request.headers['transfer-encoding'] === undefined)
  if (isEmpty && type === '') return {}
  const isText = route.textBody !== undefined && type === 'text/plain'
  if (type !== 'application/json' && !isText) {
    throw new Problem('media-type-unsupported', `Send application/json${route.textBody === undefined ? '' : ' or text/plain'}, and say so in the content-type header.`)
  }
  const encoding = request.headers['content-encoding']
  if (encoding !== undefined && encoding !== 'identity') throw new Problem('media-type-unsupported', 'Send the body without a content encoding.')

  const text = decode(await readBytes(request, route.maxBodyBytes ?? DEFAULT_MAX_BYTES))
  if (isText) return { [route.textBody ?? '']: text }
  const value = parseJson(text)
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw new Problem('request-invalid', 'The body is to be a JSON object.')
  return value as Record<string, unknown>
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

function readBytes(request: IncomingMessage, maxBytes: number): Promise<Buffer> {
  const tooLarge = (): Problem => new Problem('body-too-large', `The body may have ${String(maxBytes)} bytes here.`)
  return new Promise((resolve, reject) => {
    if (Number(request.headers['content-length'] ?? 0) > maxBytes) {
      request.resume()
      reject(tooLarge())
      return
    }
    const chunks: Buffer[] = []
    let total = 0
    const timer = setTimeout(() => {
      fail(new Problem('request-invalid', 'The body did not come in time.'))
    }, BODY_TIMEOUT_MS)
    const onData = (chunk: Buffer): void => {
      total += chunk.length
      if (total > maxBytes) fail(tooLarge())
      else chunks.push(chunk)
    }
    const onEnd = (): void => {
      stop()
      resolve(chunks.length === 1 && chunks[0] ? chunks[0] : Buffer.concat(chunks))
    }
    const onError = (): void => {
      fail(new Problem('request-invalid', 'The connection ended before the body did.'))
    }
    const stop = (): void => {
      clearTimeout(timer)
      request.off('data', onData).off('end', onEnd).off('error', onError).off('aborted', onError)
    }
    const fail = (problem: Problem): void => {
      stop()
      request.on('error', () => undefined)
      request.resume()
      reject(problem)
    }
    request.on('data', onData).on('end', onEnd).on('error', onError).on('aborted', onError)
  })
}
