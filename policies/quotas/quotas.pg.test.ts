import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { z } from 'zod'
import { keyId } from '../../core/ids.ts'
import { Problem } from '../../core/problem.ts'
import { type TestDatabase, testDatabase } from '../../server/postgres/test-database.ts'
import type { Caller } from '../caller.ts'
import type { QuotaClaim } from '../firewall/decide.ts'
import { type Gate, perform } from '../gate.ts'
import { operation } from '../operation.ts'
import { DatabaseLog } from '../testing/database-log.ts'
import { testSealer } from '../testing/row-sealer.ts'
import { quotaFeature } from './index.ts'

const caller: Caller = { kind: 'module', name: 'billing', id: 'id' }
const KEY = keyId('key:test')
const subject = (effect: 'durable' | 'transient', usesKey = true) =>
  operation({
    name: `test.${effect}.do`,
    summary: 'Does something that a quota counts.',
    effect,
    input: z.strictObject({}),
    output: z.strictObject({}),
    locate: () => Promise.resolve({}),
    uses: () => (usesKey ? [{ action: 'sign' as const, keyId: KEY }] : []),
    facts: () => ({}),
    execute: () => Promise.resolve({}),
    respond: () => ({}),
  })

let db: TestDatabase
beforeAll(async () => {
  db = await testDatabase()
})
afterAll(() => db.close())

/** A node of its own on the one database. */
function node(claim: () => QuotaClaim) {
  const log = new DatabaseLog(db)
  const gate: Gate = {
    log,
    decide: ({ operation: name }) => ({
      ...{ effect: 'allow', rule: 'metered', revision: 'r1', reason: 'a test says so' },
      ...(name.startsWith('test.') ? { claims: { quota: claim() } } : {}),
    }),
    quotas: { take: (tx, asked) => feature.desk.take(tx, asked), takeLeased: (asked) => feature.desk.takeLeased(asked) },
  }
  const feature = quotaFeature({ sql: db.sql, sealer: testSealer, gate })
  const ask = (op: ReturnType<typeof subject>) =>
    perform(gate, op, { caller, body: {} }).then(
      () => 'ok',
      (error: unknown) => (error instanceof Problem ? error.code : expect.unreachable(String(error))),
    )
  return { log, ask }
}

const quota = (key: string, most: number, amount = 1): QuotaClaim => ({ key, most, amount, period: '2026-11-26' })
const usedOf = async (key: string): Promise<number> => Number((await db.sql.query<{ used: string }>('SELECT used FROM quotas WHERE key = $1', [key]))[0]?.used)
const count = (answers: readonly string[], code: string): number => answers.filter((answer) => answer === code).length

describe.each(['with a key', 'without a key'])('a quota of durable operations %s', (how) => {
  const op = subject('durable', how === 'with a key')

  it('allows exactly so many, to 16 callers on two nodes at once', async () => {
    const nodes = [node(() => quota(`exact ${how}`, 1000)), node(() => quota(`exact ${how}`, 1000))]
    const answers = (
      await Promise.all(
        Array.from({ length: 16 }, async (_, at) => {
          const own: string[] = []
          for (let turn = 0; turn < 70; turn++) own.push((await nodes[at % 2]?.ask(op)) ?? '')
          return own
        }),
      )
    ).flat()
    expect([count(answers, 'ok'), count(answers, 'quota-exceeded'), answers.length]).toEqual([1000, 120, 1120])
    expect(await usedOf(`exact ${how}`)).toBe(1000)
    const entries = nodes.flatMap(({ log }) => log.entries)
    expect(entries.filter(({ kind }) => kind === 'intent')).toHaveLength(1000)
    expect(entries.filter(({ kind, code }) => kind === 'refusal' && code === 'quota-exceeded')).toHaveLength(120)
  })

  it('counts amounts, and a smaller one still fits where a greater did not', async () => {
    const key = `amounts ${how}`
    const asked = async (amount: number) => node(() => quota(key, 10, amount)).ask(op)
    expect([await asked(7), await asked(4), await asked(3), await asked(1)]).toEqual(['ok', 'quota-exceeded', 'ok', 'quota-exceeded'])
    expect(await usedOf(key)).toBe(10)
  })
})

describe('a quota of transient operations', () => {
  const op = subject('transient')

  it('is never exceeded over nodes, and leased in blocks', async () => {
    const nodes = [node(() => quota('leased', 500)), node(() => quota('leased', 500))]
    const answers = (
      await Promise.all(Array.from({ length: 16 }, (_, at) => Promise.all(Array.from({ length: 50 }, async () => (await nodes[at % 2]?.ask(op)) ?? ''))))
    ).flat()
    expect(count(answers, 'ok') + count(answers, 'quota-exceeded')).toBe(800)
    expect(count(answers, 'ok')).toBeLessThanOrEqual(500)
    // What one node has left of its last block the other does not get.
    expect(count(answers, 'ok')).toBeGreaterThan(490)
    expect(await usedOf('leased')).toBe(500)
    const leases = nodes
      .flatMap(({ log }) => log.entries)
      .filter(({ operation: name, kind, code }) => name === 'policies.quota.lease' && kind === 'outcome' && code === 'ok')
    expect(leases).toHaveLength(100)
  })

  it('is what is left of a lease that takes the last', async () => {
    const { ask } = node(() => quota('last', 3))
    expect([await ask(op), await ask(op), await ask(op), await ask(op)]).toEqual(['ok', 'ok', 'ok', 'quota-exceeded'])
  })
})

it('a period has a quota of its own, and callers who share no key share none', async () => {
  let claim = quota('mine', 1)
  const { ask } = node(() => claim)
  const op = subject('durable')
  expect([await ask(op), await ask(op)]).toEqual(['ok', 'quota-exceeded'])
  claim = { ...claim, period: '2026-11-27' }
  expect(await ask(op)).toBe('ok')
  claim = { ...claim, key: 'yours' }
  expect(await ask(op)).toBe('ok')
})

it('an edited counter is refused', async () => {
  const { ask } = node(() => quota('edited', 2))
  const op = subject('durable')
  await ask(op)
  await db.ownerSql.query(`UPDATE quotas SET used = 0 WHERE key = 'edited'`)
  expect(await ask(op)).toBe('integrity-failed')
})
