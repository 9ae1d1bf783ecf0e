import type { IncomingMessage } from 'node:http'
import { Agent, request } from 'node:https'

/** A caller's way in: where the service is, whom it trusts, and its client certificate. PEM. */
export interface Connection {
  /** `https://127.0.0.1:8443` */
  readonly url: string
  /** The root that the service's TLS certificate chains to. */
  readonly trust: string
  /** Absent: a caller that shows no certificate. */
  readonly certificate?: string
  readonly key?: string
  /** The token of a session, for who has logged in. */
  readonly session?: string
}

/** A refusal or failure, as the service tells it (RFC 9457). */
export class ApiProblem extends Error {
  readonly status: number
  readonly code: string
  readonly detail: string
  /** `urn:uuid:` and the operation id: the audit entry to ask about. */
  readonly instance: string
  readonly body: Readonly<Record<string, unknown>>

  constructor(status: number, body: Readonly<Record<string, unknown>>) {
    super(`${String(status)} ${String(body['type'])}: ${String(body['detail'])}`)
    this.name = 'ApiProblem'
    this.status = status
    this.code = String(body['type']).replace('/problems/', '')
    this.detail = String(body['detail'])
    this.instance = String(body['instance'])
    this.body = body
  }
}

/** JSON over mutual TLS, on connections that stay open. */
export class ApiClient {
  readonly #connection: Connection
  readonly #agent: Agent

  constructor(connection: Connection, { maxSockets = 8 }: { readonly maxSockets?: number } = {}) {
    this.#connection = connection
    this.#agent = new Agent({
      keepAlive: true,
      maxSockets,
      ca: connection.trust,
      minVersion: 'TLSv1.3',
      ...(connection.certificate === undefined ? {} : { cert: connection.certificate }),
      ...(connection.key === undefined ? {} : { key: connection.key }),
    })
  }

  /** Throws an {@link ApiProblem}. */
  async get<Answer = Record<string, unknown>>(path: string): Promise<Answer> {
    return JSON.parse((await this.#send('GET', path)).toString('utf8')) as Answer
  }

  async post<Answer = Record<string, unknown>>(path: string, body: unknown = {}): Promise<Answer> {
    return JSON.parse((await this.#send('POST', path, JSON.stringify(body))).toString('utf8')) as Answer
  }

  async postText<Answer = Record<string, unknown>>(path: string, text: string): Promise<Answer> {
    return JSON.parse((await this.#send('POST', path, text, 'text/plain')).toString('utf8')) as Answer
  }

  /** A file. `most`: bytes; throws where it has more. */
  async download(path: string, { most = MOST_BYTES }: { readonly most?: number } = {}): Promise<Buffer> {
    return readAll(await this.#open('GET', path), most)
  }

  downloadPost(path: string, body: unknown): Promise<Buffer> {
    return this.#send('POST', path, JSON.stringify(body))
  }

  /** A file of any length, as it comes. What reads it to its end has all of it: one that ends early throws there. */
  async stream(path: string): Promise<AsyncIterable<Buffer>> {
    return this.#open('GET', path)
  }

  close(): void {
    this.#agent.destroy()
  }

  async #send(method: string, path: string, body?: string, contentType?: string): Promise<Buffer> {
    return readAll(await this.#open(method, path, body, contentType))
  }

  /** The answer, of which the head is there. Throws an {@link ApiProblem}. */
  #open(method: string, path: string, body?: string, contentType = 'application/json'): Promise<IncomingMessage> {
    return new Promise((resolve, reject) => {
      const headers = {
        ...(body === undefined ? {} : { 'content-type': contentType, 'content-length': Buffer.byteLength(body) }),
        ...(this.#connection.session === undefined ? {} : { authorization: `Bearer ${this.#connection.session}` }),
      }
      const sent = request(new URL(path, this.#connection.url), { method, agent: this.#agent, headers, timeout: 120_000 }, (response) => {
        const status = response.statusCode ?? 0
        // What the policy holds was accepted, and not done.
        if (status < 400 && !String(response.headers['content-type']).startsWith('application/problem+json')) resolve(response)
        else readAll(response).then((bytes) => reject(asApiProblem(status, bytes)), reject)
      })
      sent.on('timeout', () => sent.destroy(new Error(`no answer within 120 s: ${method} ${path}`)))
      sent.on('error', reject)
      sent.end(body)
    })
  }
}

/** What is longer is no answer of the service, which gives what may be longer as a {@link ApiClient.stream}. */
const MOST_BYTES = 1024 * 1024 * 1024

async function readAll(response: IncomingMessage, most = MOST_BYTES): Promise<Buffer> {
  const chunks: Buffer[] = []
  let length = 0
  for await (const chunk of response as AsyncIterable<Buffer>) {
    length += chunk.length
    // Leaving the loop ends the connection.
    if (length > most) throw new Error(`the answer has more than ${most} bytes`)
    chunks.push(chunk)
  }
  if (!response.complete) throw new Error('the answer ended early')
  return Buffer.concat(chunks)
}

function asApiProblem(status: number, bytes: Buffer): ApiProblem {
  try {
    return new ApiProblem(status, JSON.parse(bytes.toString('utf8')) as Record<string, unknown>)
  } catch {
    return new ApiProblem(status, { type: 'unknown', detail: 'the answer is no problem document', instance: '' })
  }
}
