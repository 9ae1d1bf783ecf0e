import { describe, expect, it } from 'vitest'
import { z } from 'zod'
import { keyId } from '../core/ids.ts'
import { Problem } from '../core/problem.ts'
import type { RowDigest } from '../core/row.ts'
import { type Caller, systemCaller } from './caller.ts'
import { type Gate, perform } from './gate.ts'
import { type Operation, operation } from './operation.ts'
import { type Permit, PermitError } from './permit.ts'
import { MemoryLog, memoryGate } from './testing/memory-gate.ts'

const KEY = keyId('k1')
const caller: Caller = systemCaller('test')

/** An operation that tells what was done to it. */
function probe(effect: 'durable' | 'transient', parts: Partial<Operation<{ n: number }, { n: number }, number, { n: number }>> = {}) {
  const done: string[] = []
  const op = operation<{ n: number }, { n: number }, number, { n: number }>({
    name: 'test.key.use',
    summary: 'Uses a key.',
    effect,
    input: z.strictObject({ n: z.number() }),
    output: z.strictObject({ n: z.number() }),
    locate: ({ n }) => Promise.resolve({ n }),
    uses: () => [{ action: 'sign', keyId: KEY }],
    facts: ({ n }) => ({ public: { n } }),
    execute: (permit, { n }) => {
      permit.assertAllows('sign', KEY)
      done.push('key used')
      return Promise.resolve(n * 2)
    },
    respond: (_target, n) => {
      done.push('answered')
      return { n }
    },
    ...(effect === 'durable'
      ? {
          reserve: () => {
            done.push('reserved')
            return Promise.resolve([])
          },
          record: () => {
            done.push('recorded')
            return Promise.resolve({ facts: { public: { stored: true } } })
          },
        }
      : {}),
    ...parts,
  })
  return { op, done }
}

const rowsOf = (count: number): RowDigest[] => Array.from({ length: count }, (_, at) => ({ table: 'things', id: String(at), version: 1, digest: 'AAAA' }))

const keyless = (parts: Partial<ReturnType<typeof probe>['op']> = {}) =>
  probe('durable', { uses: () => [], execute: (_permit, { n }) => Promise.resolve(n * 2), ...parts })
const run = (gate: Gate, op: ReturnType<typeof probe>['op'], body: unknown = { n: 21 }) => perform(gate, op, { caller, body })
const kinds = (log: MemoryLog) => log.entries.map(({ kind, code }) => (code === undefined ? kind : `${kind} ${code}`))

describe('what entries say of an admission', () => {
  it.each<[Pick<Caller, 'kind' | 'admittedUntil'>, number | undefined]>([
    [{ kind: 'module', admittedUntil: 5 }, 5],
    [{ kind: 'vendor' }, 0],
    [{ kind: 'officer' }, undefined],
    [{ kind: 'system', admittedUntil: 5 }, undefined],
  ])('%j: %j', async (who, told) => {
    const gate = memoryGate()
    await perform(gate, probe('transient').op, { caller: { name: 'x', id: 'x', ...who }, body: { n: 21 } })
    expect(gate.log.entries[0]?.decision?.admittedUntil).toBe(told)
  })
})

describe('perform', () => {
  it('transient: uses the key, records, answers', async () => {
    const gate = memoryGate()
    const { op, done } = probe('transient')
    expect(await run(gate, op)).toEqual({ n: 42 })
    expect(done).toEqual(['key used', 'answered'])
    expect(kinds(gate.log)).toEqual(['outcome ok'])
    expect(gate.log.entries[0]).toMatchObject({
      operation: 'test.key.use',
      decision: { effect: 'allow', rule: 'test' },
      uses: [{ action: 'sign', keyId: KEY }],
      facts: { public: { n: 21 } },
    })
  })

  it('durable: reserves and says so, then uses the key, then records, then answers', async () => {
    const gate = memoryGate()
    const { op, done } = probe('durable')
    expect(await run(gate, op)).toEqual({ n: 42 })
    expect(done).toEqual(['reserved', 'key used', 'recorded', 'answered'])
    expect(kinds(gate.log)).toEqual(['intent', 'outcome ok'])
    expect(gate.log.entries[0]?.id).toBe(gate.log.entries[1]?.id)
    expect(gate.log.entries[1]?.facts?.public).toEqual({ n: 21, stored: true })
  })

  it.each(['durable', 'transient'] as const)('%s: a denial uses no key and is recorded', async (effect) => {
    const gate = memoryGate(() => ({ effect: 'deny', rule: 'default', revision: 'r', reason: 'no' }))
    const { op, done } = probe(effect)
    await expect(run(gate, op)).rejects.toMatchObject({ code: 'forbidden' })
    expect(done).toEqual([])
    expect(kinds(gate.log)).toEqual(['refusal forbidden'])
  })

  it('an error in deciding is a denial', async () => {
    const gate = memoryGate(() => {
      throw new Error('broken rule')
    })
    const { op, done } = probe('transient')
    await expect(run(gate, op)).rejects.toMatchObject({ code: 'forbidden' })
    expect(done).toEqual([])
  })

  it.each(['before', 'after'] as const)('durable: no intent, no key use (the log fails %s committing)', async (when) => {
    const gate = memoryGate()
    gate.log.fail = when
    const { op, done } = probe('durable')
    await expect(run(gate, op)).rejects.toMatchObject({ code: 'log-unavailable' })
    expect(done).toEqual(['reserved'])
  })

  it.each(['before', 'after'] as const)('transient: no outcome, no answer (the log fails %s committing)', async (when) => {
    const gate = memoryGate()
    gate.log.fail = when
    const { op, done } = probe('transient')
    await expect(run(gate, op)).rejects.toMatchObject({ code: 'log-unavailable' })
    expect(done).toEqual(['key used'])
  })

  it.each(['before', 'after'] as const)('durable: no outcome, no answer (the log fails %s committing the second time)', async (when) => {
    const log = new MemoryLog()
    const gate = memoryGate(undefined, log)
    const { op, done } = probe('durable', {
      execute: () => {
        log.fail = when
        return Promise.resolve(1)
      },
    })
    await expect(run(gate, op)).rejects.toMatchObject({ code: 'log-unavailable' })
    expect(done).not.toContain('answered')
    expect(log.givenUp).toEqual([log.entries[0]?.id])
  })

  it.each(['before', 'after'] as const)('a denial that cannot be recorded answers nothing of itself (the log fails %s committing)', async (when) => {
    const gate = memoryGate(() => ({ effect: 'deny', rule: 'default', revision: 'r', reason: 'no' }))
    gate.log.fail = when
    await expect(run(gate, probe('transient').op)).rejects.toMatchObject({ code: 'log-unavailable' })
  })

  it('a permit is dead once the operation has returned', async () => {
    let kept: Permit | undefined
    const { op } = probe('transient', {
      execute: (permit) => {
        kept = permit
        return Promise.resolve(1)
      },
    })
    await run(memoryGate(), op)
    expect(() => kept?.assertAllows('sign', KEY)).toThrow(PermitError)
  })

  it('a permit covers what the operation declared, and nothing else', async () => {
    const gate = memoryGate()
    for (const use of [{ action: 'sign', keyId: keyId('k2') } as const, { action: 'wrap', keyId: KEY } as const]) {
      const { op } = probe('transient', {
        execute: (permit) =>
          Promise.resolve()
            .then(() => permit.assertAllows(use.action, use.keyId))
            .then(() => 1),
      })
      await expect(run(gate, op)).rejects.toMatchObject({ code: 'internal' })
    }
    expect(kinds(gate.log)).toEqual(['outcome internal', 'outcome internal'])
  })

  it('a state that forbids is a refusal, and reserves nothing', async () => {
    const gate = memoryGate()
    const { op, done } = probe('durable', { admit: () => new Problem('not-found', 'There is no such key.') })
    await expect(run(gate, op)).rejects.toMatchObject({ code: 'not-found' })
    expect(done).toEqual([])
    expect(kinds(gate.log)).toEqual(['refusal not-found'])
  })

  it('a reservation that is lost is a refusal, and uses no key', async () => {
    const gate = memoryGate()
    const { op, done } = probe('durable', { reserve: () => Promise.reject(new Problem('conflict', 'Taken.')) })
    await expect(run(gate, op)).rejects.toMatchObject({ code: 'conflict' })
    expect(done).toEqual([])
    expect(kinds(gate.log)).toEqual(['refusal conflict'])
  })

  it('durable, without a key: all of it is one transaction', async () => {
    const gate = memoryGate()
    const { op, done } = keyless()
    expect(await run(gate, op)).toEqual({ n: 42 })
    expect(done).toEqual(['reserved', 'recorded', 'answered'])
    expect(kinds(gate.log)).toEqual(['intent', 'outcome ok'])
    expect(gate.log.transactions).toBe(1)
  })

  it.each([
    ['reservation', { reserve: () => Promise.reject(new Problem('conflict', 'Taken.')) }, 'conflict'],
    ['work', { execute: () => Promise.reject(new Error('it broke')) }, 'internal'],
    ['row', { record: () => Promise.reject(new Problem('conflict', 'Someone was first.')) }, 'conflict'],
  ])('durable, without a key, whose %s fails: a refusal, and nothing of it stands', async (_what, parts, code) => {
    const gate = memoryGate()
    const { op, done } = keyless(parts)
    await expect(run(gate, op)).rejects.toMatchObject({ code })
    expect(done).not.toContain('answered')
    expect(kinds(gate.log)).toEqual([`refusal ${code}`])
  })

  it('durable, without a key, when the log is away: nothing is recorded, and nobody is answered', async () => {
    const gate = memoryGate()
    const { op, done } = keyless()
    gate.log.fail = 'before'
    await expect(run(gate, op)).rejects.toMatchObject({ code: 'log-unavailable' })
    expect(done).not.toContain('answered')
    expect(kinds(gate.log)).toEqual([])
  })

  it('a key use that fails is an outcome, with what a failure still writes', async () => {
    const gate = memoryGate()
    const written: string[] = []
    const { op } = probe('durable', {
      execute: () => Promise.reject(new Problem('hsm-unavailable', 'The HSM is away.')),
      recordFailure: (_tx, _target, problem) => {
        written.push(problem.code)
        return Promise.resolve(rowsOf(1))
      },
    })
    await expect(run(gate, op)).rejects.toMatchObject({ code: 'hsm-unavailable' })
    expect(written).toEqual(['hsm-unavailable'])
    expect(kinds(gate.log)).toEqual(['intent', 'outcome hsm-unavailable'])
    expect(gate.log.entries.at(-1)?.facts?.rows).toEqual(rowsOf(1))
  })

  it.each([
    ['one that uses a key', probe],
    ['one that uses none', (_effect: 'durable', parts: Parameters<typeof keyless>[0]) => keyless(parts)],
  ] as const)('what %s reserved is named in the transaction that wrote it, however much it is', async (_claim, made) => {
    const gate = memoryGate()
    await run(gate, made('durable', { reserve: () => Promise.resolve(rowsOf(450)) }).op)
    const named = gate.log.entries.map(({ kind, facts }) => [kind, facts?.rows?.length ?? 0])
    expect(named).toEqual([
      ['intent', 200],
      ['item', 200],
      ['item', 50],
      ['outcome', 0],
    ])
    expect(gate.log.entries.flatMap(({ facts }) => facts?.rows ?? [])).toEqual(rowsOf(450))
  })

  it('rows that lose a race are a failed outcome, and nothing of them stays', async () => {
    const gate = memoryGate()
    const { op } = probe('durable', { record: () => Promise.reject(new Problem('conflict', 'Someone was first.')) })
    await expect(run(gate, op)).rejects.toMatchObject({ code: 'conflict' })
    expect(kinds(gate.log)).toEqual(['intent', 'outcome conflict'])
  })

  it('whatever is not a Problem says nothing of itself to the caller', async () => {
    const { op } = probe('transient', { execute: () => Promise.reject(new Error('PIN 123456 was wrong')) })
    const problem = await run(memoryGate(), op).catch((error: unknown) => error as Problem)
    expect(problem).toBeInstanceOf(Problem)
    expect(JSON.stringify([(problem as Problem).detail, (problem as Problem).message])).not.toContain('123456')
  })

  it.each([
    [{}, ''],
    [{ n: 'x' }, '/n'],
    [{ n: 1, 'a/b': 1 }, ''],
    ['text', ''],
    [null, ''],
  ])('a malformed request is refused before anything is decided: %j', async (body, pointer) => {
    const gate = memoryGate()
    const { op, done } = probe('durable')
    const problem = await run(gate, op, body).catch((error: unknown) => error as Problem)
    expect(problem).toMatchObject({ code: 'request-invalid' })
    expect((problem as Problem).faults.length).toBeGreaterThan(0)
    expect((problem as Problem).faults[0]?.pointer?.startsWith(pointer)).toBe(true)
    expect(done).toEqual([])
    expect(gate.log.entries).toEqual([])
  })

  it('a row that was edited, met while looking, is recorded before it is told', async () => {
    const gate = memoryGate()
    const { op, done } = probe('transient', {
      locate: () => Promise.reject(new Problem('integrity-failed', 'The stored row 7 of keys is not what the service wrote.')),
    })
    await expect(run(gate, op)).rejects.toMatchObject({ code: 'integrity-failed' })
    expect(done).toEqual([])
    expect(kinds(gate.log)).toEqual(['refusal integrity-failed'])
  })

  it.each([
    ['changes something', () => keyless()],
    ['uses a key', () => probe('transient')],
  ])('what %s is refused while the clock is not to be relied on, after it was decided', async (_what, make) => {
    const late = new Problem('clock-unreliable', 'The clocks are 5 s apart.')
    const allowing = { ...memoryGate(), clock: () => late }
    const { op, done } = make()
    await expect(run(allowing, op)).rejects.toBe(late)
    expect([done, kinds(allowing.log)]).toEqual([[], ['refusal clock-unreliable']])
    expect(allowing.log.entries[0]?.decision).toMatchObject({ effect: 'deny', rule: 'test' })
    const denying = { ...memoryGate(() => ({ effect: 'deny', rule: 'default', revision: 'r', reason: 'no' })), clock: () => late }
    await expect(run(denying, op)).rejects.toMatchObject({ code: 'forbidden' })
  })

  it('what only reads is done whatever the clock says', async () => {
    const gate = { ...memoryGate(), clock: () => new Problem('clock-unreliable', 'The clocks are 5 s apart.') }
    expect(await run(gate, probe('transient', { uses: () => [], execute: () => Promise.resolve(1) }).op)).toEqual({ n: 1 })
  })

  it('one item entry for each thing done, with the outcome last', async () => {
    const gate = memoryGate()
    const { op } = probe('durable', { record: () => Promise.resolve({ items: [{ public: { card: 1 } }, { public: { card: 2 } }] }) })
    await run(gate, op)
    expect(kinds(gate.log)).toEqual(['intent', 'item ok', 'item ok', 'outcome ok'])
  })
})
