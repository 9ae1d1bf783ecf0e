import { createServer, type Server } from 'node:http'
import type { Metrics } from './metrics.ts'

/** What the plain listener serves: nothing that needs an identity, and nothing that changes anything. */
export interface PlainParts {
  readonly metrics: Metrics
  /** PEM of a CA and what stands above it; undefined for a name that is none. */
  readonly authority: (name: string) => Promise<string | undefined>
  /** What is well and what is not, by part. */
  readonly health: () => Promise<Readonly<Record<string, boolean>>>
  /** The C2SP verifier key of the audit log. */
  readonly logKey: string
}

type Reply = { readonly status: number; readonly type: string; readonly body: string }
const text = (status: number, body: string, type = 'text/plain; charset=utf-8'): Reply => ({ status, type, body })

/** HTTP without TLS: CA certificates, the log's key, health, metrics. */
export function createPlainListener(parts: PlainParts): Server {
  return createServer({ requestTimeout: 10_000 }, (request, response) => {
    const reply = request.method === 'GET' || request.method === 'HEAD' ? route(parts, request.url ?? '/') : Promise.resolve(text(405, 'GET only\n'))
    reply
      .catch(() => text(503, 'not available\n'))
      .then(({ status, type, body }) =>
        response.writeHead(status, { 'content-type': type, 'content-length': Buffer.byteLength(body) }).end(request.method === 'HEAD' ? undefined : body),
      )
      .catch(() => response.destroy())
  })
}

async function route(parts: PlainParts, url: string): Promise<Reply> {
  const path = url.split('?', 1)[0] ?? '/'
  if (path === '/health') {
    const health = await parts.health()
    return text(Object.values(health).every(Boolean) ? 200 : 503, JSON.stringify(health), 'application/json')
  }
  if (path === '/metrics') return text(200, await parts.metrics.text(), 'text/plain; version=0.0.4; charset=utf-8')
  if (path === '/audit/key') return text(200, `${parts.logKey}\n`)
  const authority = /^\/ca\/([a-z]+)\.pem$/.exec(path)?.[1]
  const pem = authority === undefined ? undefined : await parts.authority(authority)
  return pem === undefined ? text(404, 'nothing here\n') : text(200, pem, 'application/x-pem-file')
}
