import { Readable } from 'node:stream'
import Router from '@koa/router'
import type { Context } from 'koa'
import { asProblem, Problem } from '../core/problem.ts'
import type { Caller } from '../policies/caller.ts'
import { type Gate, perform } from '../policies/gate.ts'
import type { AnyOperation, Download, Route } from '../policies/operation.ts'
import { assertNoNul, hasBody, readBody } from './body.ts'
import type { Metrics } from './metrics.ts'
import { requestId } from './request-id.ts'
import { assertSameOrigin, clearedSessionCookie, DEVICE_COOKIE, deviceCookie, readCookie, SESSION_COOKIE, sessionCookie } from './session-cookie.ts'

/** The methods that are mounted at an address. HEAD is none of them: it would perform an operation whose answer nobody gets. */
export function methodsAt(router: Router, path: string): readonly string[] {
  return [...new Set(router.match(path, 'GET').path.flatMap(({ methods }) => methods))].filter((method) => method !== 'HEAD')
}

/** Mounts each operation at its route: nothing else answers under /v1. */
export function mountRoutes({
  operations,
  gate,
  callerOf,
  metrics,
}: {
  readonly operations: readonly AnyOperation[]
  readonly gate: Gate
  readonly callerOf: (ctx: Context, access: Route['access']) => Promise<Caller>
  readonly metrics: Metrics
}): Router {
  const router = new Router({ sensitive: true, strict: true })
  for (const op of operations) {
    const { route } = op
    if (route === undefined) continue
    router.register(route.path.replaceAll(/\{(\w+)\}/g, ':$1'), [route.method], async (ctx) => {
      const started = performance.now()
      let code = 'ok'
      ctx.set('operation-id', requestId(ctx.req))
      try {
        const caller = await callerOf(ctx, route.access)
        const body = await inputOf(ctx, route)
        const toBrowser = (route.session === 'opens' || route.session === 'knows-device') && body['cookie'] === true
        if (toBrowser) assertSameOrigin(ctx.req)
        if (toBrowser && route.session === 'opens') nameDevice(ctx, body)
        const output = (await perform(gate, op, { id: requestId(ctx.req), caller, body })) as object
        if (route.session === 'closes') endCookie(ctx)
        answer(ctx, route, toBrowser ? withCookies(ctx, output) : output)
      } catch (error) {
        code = asProblem(error).code
        throw error
      } finally {
        metrics.observe(op.name, code, (performance.now() - started) / 1000)
      }
    })
  }
  return router
}

/** A login from a page is by the device's cookie, where there is one. */
function nameDevice(ctx: Context, body: Record<string, unknown>): void {
  const device = readCookie(ctx.req, DEVICE_COOKIE)
  if (device !== undefined) body['device'] ??= device
}

/** What a browser keeps in cookies, where no script reads it, is not in the answer. */
function withCookies(ctx: Context, output: object): object {
  const { token, device, ...rest } = output as { token?: string; device?: string }
  ctx.append('set-cookie', [...(token === undefined ? [] : [sessionCookie(token)]), ...(device === undefined ? [] : [deviceCookie(device)])])
  return rest
}

function endCookie(ctx: Context): void {
  if (readCookie(ctx.req, SESSION_COOKIE) !== undefined) ctx.append('set-cookie', clearedSessionCookie())
}

/** Path, and body or query, as one object. A field given in two places is a fault. */
async function inputOf(ctx: Context & { params: Record<string, string> }, route: Route): Promise<Record<string, unknown>> {
  if (route.method === 'GET' && hasBody(ctx.req)) throw new Problem('request-invalid', 'This address takes no body.')
  const given = route.method === 'GET' ? queryOf(ctx) : await readBody(ctx.req, route)
  if (route.method === 'POST' && ctx.querystring !== '') throw new Problem('request-invalid', 'This address takes no query.')
  for (const [name, value] of Object.entries(ctx.params)) {
    assertNoNul(value)
    if (Object.hasOwn(given, name))
      throw new Problem('request-invalid', `${name} stands in the path already.`, { faults: [{ pointer: `/${name}`, message: 'given twice' }] })
  }
  return { ...given, ...ctx.params }
}

function queryOf(ctx: Context): Record<string, unknown> {
  const faults = Object.entries(ctx.query).flatMap(([name, value]) => (Array.isArray(value) ? [{ pointer: pointerTo(name), message: 'given twice' }] : []))
  if (faults.length > 0) throw new Problem('request-invalid', 'A field stands more than once in the query.', { faults })
  for (const [name, value] of Object.entries(ctx.query)) assertNoNul(`${name}${String(value)}`)
  return ctx.query
}

/** RFC 6901. */
const pointerTo = (name: string): string => `/${name.replaceAll('~', '~0').replaceAll('/', '~1')}`

function answer(ctx: Context, route: Route, output: object): void {
  ctx.status = route.status ?? 200
  if (!isDownload(output)) {
    ctx.type = 'application/json'
    ctx.body = JSON.stringify(output)
    return
  }
  ctx.type = output.contentType
  if (output.fileName !== undefined) ctx.set('content-disposition', `attachment; filename="${output.fileName.replaceAll(/[^\w.-]/g, '_')}"`)
  ctx.body = Readable.from(output.chunks)
}

const isDownload = (output: object): output is Download => 'chunks' in output && 'contentType' in output
