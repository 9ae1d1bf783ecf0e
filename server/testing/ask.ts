import { Agent, type AgentOptions, request } from 'node:https'
import type { Connection } from '../../clients/api.ts'

export interface Asked {
  readonly status: number
  /** Of the header `operation-id`. */
  readonly operationId: string
  /** Of the header `retry-after`; empty where there is none. */
  readonly retryAfter: string
  readonly body: Buffer
}

/** Connections of a caller, one for each request under way. */
export const agentOf = ({ trust, certificate, key }: Connection, options: AgentOptions = {}): Agent =>
  new Agent({ keepAlive: true, ca: trust, ...(certificate === undefined ? {} : { cert: certificate }), ...(key === undefined ? {} : { key }), ...options })

/** One request, with all of its answer. Rejects when no whole answer came. */
export function ask(
  agent: Agent,
  { url, method = 'GET', body }: { readonly url: string; readonly method?: 'GET' | 'POST'; readonly body?: unknown },
): Promise<Asked> {
  return new Promise((resolve, reject) => {
    const text = body === undefined ? undefined : JSON.stringify(body)
    const headers = text === undefined ? {} : { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) }
    const sent = request(url, { method, agent, headers, timeout: 60_000 }, (response) => {
      const chunks: Buffer[] = []
      response.on('data', (chunk: Buffer) => chunks.push(chunk))
      response.on('error', reject)
      response.on('end', () => {
        if (!response.complete) return reject(new Error('the answer ended early'))
        return resolve({
          status: response.statusCode ?? 0,
          operationId: String(response.headers['operation-id'] ?? ''),
          retryAfter: response.headers['retry-after'] ?? '',
          body: Buffer.concat(chunks),
        })
      })
    })
    sent.on('timeout', () => sent.destroy(new Error('no answer within 60 s')))
    sent.on('error', reject)
    sent.end(text)
  })
}
