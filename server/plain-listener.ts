import { createServer, type Server } from 'node:http'
import { sha256, utf8 } from '../core/bytes.ts'
import { parseTilePath, type PublicTiles } from '../policies/audit/index.ts'
import type { ActiveAlarm } from '../policies/alarms/index.ts'
import { KEY_SET_PATH } from './app.ts'
import { limitConnections } from './connection-limits.ts'
import type { Health } from './health.ts'
import type { Metrics } from './metrics.ts'

/** What the plain listener serves: nothing that needs an identity, and nothing that changes anything. */
export interface PlainParts {
  readonly metrics: Metrics
  /** PEM of a CA and what stands above it; undefined for a name that is none. */
  readonly authority: (name: string) => Promise<string | undefined>
  /** The CRL of a CA, DER; undefined for a name that is none, or before the first. */
  readonly crl: (
    name: string,
  ) => Promise<{ readonly der: Uint8Array; readonly digest: Uint8Array; readonly thisUpdate: Date; readonly nextUpdate: Date } | undefined>
  readonly health: Pick<Health, 'states' | 'isReady'>
  /** What is wrong, and since when. It makes nobody unready: who cannot serve is a part that is away. */
  readonly alarms: () => readonly ActiveAlarm[]
  /** Public keys that check results of attestation (RFC 7517). */
  readonly keySet: object
  /** The C2SP verifier key of the audit log. */
  readonly logKey: string
  /** The audit log as C2SP tlog-tiles, under {@link LOG_PREFIX}. */
  readonly log: PublicTiles
}

export const LOG_PREFIX = '/log/'

type Headers = Readonly<Record<string, string>>
type Reply = { readonly status: number; readonly type: string; readonly body: string | Uint8Array; readonly headers?: Headers }
const text = (status: number, body: string, type = 'text/plain; charset=utf-8'): Reply => ({ status, type, body })

/** HTTP without TLS: CA certificates, CRLs, public keys, the audit log's tree, health, metrics. */
export function createPlainListener(parts: PlainParts): Server {
  const server = createServer({ requestTimeout: 10_000 })
  limitConnections(server, (request, response) => {
    const reply =
      request.method === 'GET' || request.method === 'HEAD'
        ? route(parts, request.url ?? '/', request.headers['if-none-match'])
        : Promise.resolve(text(405, 'GET only\n'))
    reply
      .catch(() => text(503, 'not available\n'))
      .then(({ status, type, body, headers }) =>
        response
          .writeHead(status, status === 304 ? headers : { 'content-type': type, 'content-length': Buffer.byteLength(body), ...headers })
          .end(request.method === 'HEAD' ? undefined : body),
      )
      .catch(() => response.destroy())
  })
  return server
}

async function route(parts: PlainParts, url: string, known: string | undefined): Promise<Reply> {
  const path = url.split('?', 1)[0] ?? '/'
  // Alive: whoever answers is. Ready: it can serve; a load balancer asks that.
  if (path === '/healthz' || path === '/readyz') {
    return text(path === '/healthz' || parts.health.isReady ? 200 : 503, JSON.stringify({ ...parts.health.states, alarms: parts.alarms() }), 'application/json')
  }
  if (path === '/metrics') return text(200, await parts.metrics.text(), 'text/plain; version=0.0.4; charset=utf-8')
  if (path === '/audit/key') return text(200, `${parts.logKey}\n`)
  if (path === KEY_SET_PATH) return text(200, JSON.stringify(parts.keySet), 'application/json')
  if (path.startsWith(LOG_PREFIX)) return log(parts.log, path.slice(LOG_PREFIX.length), known)
  const revoking = /^\/crl\/([a-z]+)\.crl$/.exec(path)?.[1]
  if (revoking !== undefined) return crl(await parts.crl(revoking), known)
  const authority = /^\/ca\/([a-z]+)\.pem$/.exec(path)?.[1]
  const pem = authority === undefined ? undefined : await parts.authority(authority)
  return pem === undefined ? text(404, 'nothing here\n') : text(200, pem, 'application/x-pem-file')
}

/** Caches ask again after this long, so that a revocation is seen soon; never after the list has ended. */
const CRL_MAX_AGE_S = 300

/** A CRL as RFC 5280 4.2.1.13 and RFC 2585 4.2 want it over HTTP: one DER encoded CRL, `application/pkix-crl`. */
function crl(found: Awaited<ReturnType<PlainParts['crl']>>, known: string | undefined): Reply {
  if (found === undefined) return text(404, 'nothing here\n')
  const leftS = Math.max(0, Math.floor((found.nextUpdate.getTime() - Date.now()) / 1000))
  const headers = { 'last-modified': found.thisUpdate.toUTCString(), 'cache-control': `max-age=${Math.min(CRL_MAX_AGE_S, leftS)}` }
  return unlessKnown(known, found.digest, { status: 200, type: 'application/pkix-crl', body: found.der, headers })
}

/** Checkpoints change every second; a tile is the same for good. */
const CHECKPOINT_CACHING = 'public, max-age=1'
const TILE_CACHING = 'public, max-age=31536000, immutable'

/** C2SP tlog-tiles, without entries: a path in the one form it has, and only what the last signed checkpoint covers. */
async function log(tiles: PublicTiles, path: string, known: string | undefined): Promise<Reply> {
  const isCheckpoint = path === 'checkpoint'
  const tile = isCheckpoint ? undefined : parseTilePath(path)
  const body = isCheckpoint ? await tiles.checkpoint() : tile && (await tiles.tile(tile))
  if (body === undefined) return text(404, 'nothing here\n')
  const type = isCheckpoint ? 'text/plain; charset=utf-8' : 'application/octet-stream'
  const headers = { 'cache-control': isCheckpoint ? CHECKPOINT_CACHING : TILE_CACHING }
  return unlessKnown(known, sha256(typeof body === 'string' ? utf8(body) : body), { status: 200, type, body, headers })
}

/** The reply with the digest of its body as entity tag, or 304 to who has it already. `known`: the field `if-none-match`. */
function unlessKnown(known: string | undefined, digest: Uint8Array, reply: Reply): Reply {
  const etag = `"${Buffer.from(digest).toString('hex')}"`
  const isKnown = known?.split(',').some((one) => one.trim().replace(/^W\//, '') === etag) ?? false
  const headers = { etag, ...reply.headers }
  return isKnown ? { ...reply, status: 304, body: '', headers } : { ...reply, headers }
}
