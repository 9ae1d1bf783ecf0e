import { createDocument, type ZodOpenApiOperationObject, type ZodOpenApiSecuritySchemeObject } from 'zod-openapi'
import { z } from 'zod'
import type { AnyOperation, Route } from '../policies/operation.ts'
import { SESSION_COOKIE } from './session-cookie.ts'

const PROBLEM = z
  .object({
    type: z.string().meta({ example: '/problems/forbidden' }),
    title: z.string(),
    status: z.number().int().min(400).max(599),
    detail: z.string().meta({ description: 'What is wrong, and what to do.' }),
    instance: z.string().meta({ description: 'urn:uuid: and the operation id: the audit entry to ask about.' }),
    faults: z
      .array(z.object({ message: z.string(), pointer: z.string().optional(), line: z.number().int().optional(), column: z.number().int().optional() }))
      .optional(),
  })
  .meta({ id: 'Problem', description: 'RFC 9457' })

/** OpenAPI 3.1 knows this type (4.8.27.1); the library's declarations do not yet. */
const MUTUAL_TLS = { type: 'mutualTLS' } as unknown as ZodOpenApiSecuritySchemeObject

/** OpenAPI 3.1 of all routed operations, from the same values that the routes, the policy and the log use. */
export function openApiDocument(operations: readonly AnyOperation[]): object {
  const paths: Record<string, Record<string, ZodOpenApiOperationObject>> = {}
  for (const op of operations) {
    if (op.route === undefined) continue
    const path = (paths[op.route.path] ??= {})
    path[op.route.method.toLowerCase()] = describe(op, op.route)
  }
  return createDocument({
    openapi: '3.1.0',
    info: {
      title: 'Gridseal',
      version: '1',
      description:
        'The certificate and key service of a power grid’s Internet-of-Things card platform. Every call is made over TLS, with a client certificate of the callers’ CA or a session of a person who has logged in.',
    },
    security: [{ clientCertificate: [] }, { session: [] }, { sessionCookie: [] }],
    components: {
      securitySchemes: {
        clientCertificate: MUTUAL_TLS,
        session: { type: 'http', scheme: 'bearer' },
        sessionCookie: { type: 'apiKey', in: 'cookie', name: SESSION_COOKIE },
      },
    },
    paths,
  })
}

function describe(op: AnyOperation, route: Route): ZodOpenApiOperationObject {
  const fields = op.input instanceof z.ZodObject ? (op.input.shape as Record<string, z.ZodType>) : undefined
  const inPath = [...route.path.matchAll(/\{(\w+)\}/g)].map((match) => match[1] ?? '')
  const pick = (wanted: (name: string) => boolean): z.ZodObject =>
    z.strictObject(Object.fromEntries(Object.entries(fields ?? {}).filter(([name]) => wanted(name))))
  const success =
    route.produces === undefined
      ? { 'application/json': { schema: op.output } }
      : Object.fromEntries(route.produces.map((type) => [type, { schema: { type: 'string' as const, format: 'binary' } }]))
  const hasBody = route.method === 'POST' && (fields === undefined || Object.keys(fields).some((name) => !inPath.includes(name)))
  return {
    operationId: op.name,
    summary: op.summary,
    ...(route.access === 'anonymous' ? { security: [] } : {}),
    tags: [op.name.split('.').slice(0, -1).join('.')],
    requestParams: {
      ...(inPath.length > 0 ? { path: pick((name) => inPath.includes(name)) } : {}),
      ...(route.method === 'GET' ? { query: pick((name) => !inPath.includes(name)) } : {}),
    },
    ...(hasBody
      ? {
          requestBody: {
            required: true,
            content: {
              'application/json': { schema: fields === undefined ? op.input : pick((name) => !inPath.includes(name)) },
              ...(route.textBody === undefined ? {} : { 'text/plain': { schema: { type: 'string' as const } } }),
            },
          },
        }
      : {}),
    responses: {
      [String(route.status ?? 200)]: { description: 'Done, and recorded.', content: success },
      default: { description: 'Not done. The problem says why.', content: { 'application/problem+json': { schema: PROBLEM } } },
    },
  }
}
