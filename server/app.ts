import type { TLSSocket } from 'node:tls'
import Koa from 'koa'
import type { Logger } from 'pino'
import { asProblem, Problem } from '../core/problem.ts'
import type { Gate } from '../policies/gate.ts'
import type { AnyOperation } from '../policies/operation.ts'
import type { Identities } from './identity.ts'
import type { Metrics } from './metrics.ts'
import { openApiDocument } from './openapi.ts'
import { PROBLEM_JSON, problemBody } from './problem-details.ts'
import { requestId } from './request-id.ts'
import { mountRoutes } from './routes.ts'

export interface AppParts {
  readonly operations: readonly AnyOperation[]
  readonly gate: Gate
  readonly identities: Identities
  readonly metrics: Metrics
  readonly logger: Logger
  /** Counts a request that failed before the gate, for the aggregate entry of its source and minute. */
  readonly countEarlyFailure: (source: string, code: string) => void
}

/** Failures that come before a decision: they go to the access log and to the aggregates, not to entries of their own. */
const EARLY = new Set(['request-invalid', 'unauthenticated', 'method-not-allowed', 'body-too-large', 'media-type-unsupported'])
/** The TLS listener's application. Few middlewares, in order: problem details, caller (in the routes), routes. */
export function createApp({ operations, gate, identities, metrics, logger, countEarlyFailure }: AppParts): Koa {
  const app = new Koa()
  const document = JSON.stringify(openApiDocument(operations))
  const router = mountRoutes({ operations, gate, metrics, callerOf: (ctx) => identities.callerOf(ctx.req.socket as TLSSocket) })

  app.use(async (ctx, next) => {
    const started = performance.now()
    let reached = false
    try {
      ctx.set('cache-control', 'no-store')
      ctx.set('x-content-type-options', 'nosniff')
      await next()
      if (ctx.status === 404 && ctx.body === undefined) {
        countEarlyFailure(ctx.req.socket.remoteAddress ?? 'unknown', 'not-found')
        throw new Problem('not-found', 'Nothing is mounted at this address. /openapi.json lists all there is.')
      }
      if (ctx.status === 405) throw new Problem('method-not-allowed', `This address takes ${ctx.response.get('allow')}.`)
      reached = true
    } catch (error) {
      const problem = asProblem(error)
      const id = requestId(ctx.req)
      ctx.status = problem.status
      ctx.type = PROBLEM_JSON
      ctx.body = problemBody(problem, id)
      if (problem.status === 503) ctx.set('retry-after', '2')
      if (problem.status >= 500) logger.error({ id, code: problem.code, cause: String(problem.cause ?? ''), stack: problem.cause instanceof Error ? problem.cause.stack : undefined }, 'operation failed')
      if (EARLY.has(problem.code)) countEarlyFailure(ctx.req.socket.remoteAddress ?? 'unknown', problem.code)
    } finally {
      if (!reached || logger.isLevelEnabled('debug')) logger.info({ id: requestId(ctx.req), method: ctx.method, path: ctx.path, status: ctx.status, ms: Math.round(performance.now() - started), from: ctx.req.socket.remoteAddress }, 'request')
    }
  })
  app.use(async (ctx, next) => {
    if (ctx.path !== '/openapi.json' || ctx.method !== 'GET') return next()
    ctx.type = 'application/json'
    ctx.body = document
    return undefined
  })
  app.use(router.routes())
  app.use(router.allowedMethods())
  app.on('error', (error: unknown) => logger.warn({ cause: String(error) }, 'a connection ended in the middle of an answer'))
  return app
}
