import { once } from 'node:events'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import pino from 'pino'
import { afterEach, expect, it } from 'vitest'
import { z } from 'zod'
import { ADMITTED_AT_ANY_TIME } from '../policies/caller.ts'
import { loadPolicy, RateTable } from '../policies/firewall/index.ts'
import { operation } from '../policies/operation.ts'
import { memoryGate } from '../policies/testing/memory-gate.ts'
import { createApp } from './app.ts'
import type { Identities } from './identity.ts'
import { Metrics } from './metrics.ts'

let server: Server | undefined
afterEach(() => {
  server?.closeAllConnections()
  server?.close()
})

const POLICY = `
policy: 2
owner: me
zones: { all: { others: true } }
chains:
  - name: all
    zones: [all]
    rules: [{ id: slowly, verdict: allow, reason: r, callers: ['module:*'], operations: [test.thing.get], rate: { per: caller, count: 1, every: 90s } }]
`

it('over a rate the answer is 429, says when to come again, and has an entry', async () => {
  const get = operation({
    ...{ name: 'test.thing.get', summary: 'Gets it.', effect: 'transient' as const, route: { method: 'GET' as const, path: '/v1/test/thing' as const } },
    ...{ input: z.strictObject({}), output: z.strictObject({ there: z.boolean() }) },
    locate: () => Promise.resolve({}),
    uses: () => [],
    facts: () => ({}),
    execute: () => Promise.resolve({}),
    respond: () => ({ there: true }),
  })
  const { decide } = loadPolicy(POLICY, { operations: [{ name: get.name, effect: get.effect, isRouted: true }], now: 0 })
  const gate = { ...memoryGate(decide), rates: new RateTable({ nowMs: () => 0 }) }
  const from = { address: '127.0.0.1', listener: 'tls', strength: 'certificate' } as const
  const caller = { kind: 'module', name: 'billing', id: 'x', ...from, admittedUntil: ADMITTED_AT_ANY_TIME } as const
  const identities = { callerOf: () => Promise.resolve(caller) } as unknown as Identities
  const app = createApp({
    ...{
      operations: [get],
      gate,
      identities,
      sessions: { callerOf: () => Promise.resolve(caller) },
      metrics: new Metrics(),
      logger: pino({ level: 'silent' }),
      keySet: {},
    },
    countEarlyFailure: () => undefined,
    isCutOff: () => false,
  })
  const handle = app.callback()
  server = createServer((request, response) => void handle(request, response))
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const url = `http://127.0.0.1:${String((server.address() as AddressInfo).port)}/v1/test/thing`

  expect((await fetch(url)).status).toBe(200)
  const answer = await fetch(url)
  expect([answer.status, answer.headers.get('retry-after'), answer.headers.get('content-type')]).toEqual([429, '90', 'application/problem+json'])
  const id = answer.headers.get('operation-id') ?? ''
  expect(await answer.json()).toMatchObject({ type: '/problems/rate-exceeded', status: 429, instance: `urn:uuid:${id}` })
  expect(gate.log.entries.map(({ kind, code }) => [kind, code])).toEqual([
    ['outcome', 'ok'],
    ['refusal', 'rate-exceeded'],
  ])
  expect(gate.log.entries[1]?.id).toBe(id)
})
