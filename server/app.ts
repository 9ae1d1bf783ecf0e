import Koa from 'koa'
import type { Logger } from 'pino'
import { asProblem, causeOf, Problem } from '../core/problem.ts'
import type { Gate } from '../policies/gate.ts'
import type { AnyOperation } from '../policies/operation.ts'
import type { Identities } from './identity.ts'
import { clearedSessionCookie, readCookie, SESSION_COOKIE } from './session-cookie.ts'
import type { SessionIdentities } from './session-identity.ts'
import { whoCalls } from './who-calls.ts'
import type { Metrics } from './metrics.ts'
import { dropRest } from './body.ts'
import { openApiDocument } from './openapi.ts'
import { PROBLEM_JSON, problemBody } from './problem-details.ts'
import { requestId } from './request-id.ts'
import { methodsAt, mountRoutes } from './routes.ts'

export interface AppParts {
  readonly operations: readonly AnyOperation[]
  readonly gate: Gate
  readonly identities: Identities
  readonly sessions: Pick<SessionIdentities, 'callerOf'>
  readonly metrics: Metrics
  readonly logger: Logger
  /** Public keys that check what the service signs for relying parties (RFC 7517), JSON. */
  readonly keySet: object
  /** Counts a request that failed before the gate, for the aggregate entry of its source and minute. */
  readonly countEarlyFailure: (source: string, code: string) => void
  /** Whether the database has not answered for so long that nothing can be decided or recorded. */
  readonly isCutOff: () => boolean
}

/** Failures that come before a decision: they go to the access log and to the aggregates, not to entries of their own. */
const EARLY = new Set([
  ...['request-invalid', 'unauthenticated', 'method-not-allowed', 'body-too-large', 'media-type-unsupported'],
  ...['ticket-invalid', 'login-delayed', 'cross-site'],
])
const OPENAPI = '/openapi.json'
export const KEY_SET_PATH = '/.well-known/jwks.json'

/** The TLS listener's application. Few middlewares, in order: problem details, address and method, documents, whether the database answers, routes (with the caller). */
export function createApp({ operations, gate, identities, sessions, metrics, logger, keySet, countEarlyFailure, isCutOff }: AppParts): Koa {
  const app = new Koa()
  /** What anyone may read, without a certificate. */
  const documents = new Map([
    [OPENAPI, JSON.stringify(openApiDocument(operations))],
    [KEY_SET_PATH, JSON.stringify(keySet)],
  ])
  const countEarly = (ctx: Koa.Context, code: string): void => countEarlyFailure(ctx.req.socket.remoteAddress ?? 'unknown', code)
  const router = mountRoutes({ operations, gate, metrics, callerOf: whoCalls({ identities, sessions }) })

  app.use(async (ctx, next) => {
    const started = performance.now()
    let isDone = false
    const path = pathOf(ctx)
    ctx.res.once('finish', () => dropRest(ctx.req))
    try {
      ctx.set('cache-control', 'no-store')
      ctx.set('x-content-type-options', 'nosniff')
      if (ctx.req.httpVersion === '1.1' && ctx.req.headers.host === undefined)
        throw new Problem('request-invalid', 'The request has no host header (RFC 9112 3.2).')
      if (path === undefined) throw new Problem('request-invalid', 'The target of the request is no URL (RFC 9112 3.2).')
      await next()
      isDone = true
    } catch (error) {
      const problem = asProblem(error)
      const id = requestId(ctx.req)
      ctx.status = problem.status
      ctx.type = PROBLEM_JSON
      ctx.body = problemBody(problem, id)
      if (problem.code === 'held') ctx.set('location', `/v1/policies/holds/${id}`)
      const wait = problem.retryAfterSeconds ?? (problem.status === 503 ? 2 : undefined)
      if (wait !== undefined) ctx.set('retry-after', String(wait))
      if (problem.status >= 500)
        logger.error(
          { id, code: problem.code, cause: causeOf(problem), stack: problem.cause instanceof Error ? problem.cause.stack : undefined },
          'operation failed',
        )
      if (EARLY.has(problem.code)) countEarly(ctx, problem.code)
      if (problem.code === 'unauthenticated' && readCookie(ctx.req, SESSION_COOKIE) !== undefined) ctx.append('set-cookie', clearedSessionCookie())
    } finally {
      if (!isDone || logger.isLevelEnabled('debug'))
        logger.info(
          {
            id: requestId(ctx.req),
            method: ctx.method,
            path,
            status: ctx.status,
            ms: Math.round(performance.now() - started),
            from: ctx.req.socket.remoteAddress,
          },
          'request',
        )
    }
  })
  app.use((ctx, next) => {
    const methods = documents.has(ctx.path) ? ['GET'] : methodsAt(router, ctx.path)
    if (methods.includes(ctx.method)) return next()
    if (methods.length > 0) {
      ctx.set('allow', methods.join(', '))
      throw new Problem('method-not-allowed', `This address takes ${methods.join(' and ')}.`)
    }
    countEarly(ctx, 'not-found')
    throw new Problem('not-found', `Nothing is mounted at this address. ${OPENAPI} lists all there is.`)
  })
  app.use((ctx, next) => {
    const document = documents.get(ctx.path)
    if (document === undefined) return next()
    ctx.type = 'application/json'
    ctx.body = document
    return undefined
  })
  // At once: whatever comes to the database now would wait until the connection is given up.
  app.use((_ctx, next) => {
    if (isCutOff()) throw new Problem('database-unavailable', 'The database does not answer. Try again in a few seconds, or another node.')
    return next()
  })
  app.use(router.routes())
  app.on('error', (error: unknown) => logger.warn({ cause: String(error) }, 'a connection ended in the middle of an answer'))
  return app
}

/** Of the request's target; undefined where that is no URL. */
function pathOf(ctx: Koa.Context): string | undefined {
  try {
    return ctx.path
  } catch {
    return undefined
  }
}
