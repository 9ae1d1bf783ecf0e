import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { eventually } from '../../../server/testing/processes.ts'
import { encodeEntry, parseEntry } from '../entry.ts'
import type { FoundEntry } from '../reader.ts'
import { draftOf } from '../testing/drafts.ts'
import { Forwarder, type ForwarderParts, type ForwarderStatus } from './forwarder.ts'
import { type Receiver } from './receiver.ts'
import { SyslogConnection } from './syslog-connection.ts'
import { type Manner, makePki, type Pki, RECEIVER_NAME, SyslogReceiver } from './testing/syslog-receiver.ts'

const folder = mkdtempSync(join(tmpdir(), 'gridseal-forward-'))
let pki: Pki
let other: Pki
beforeAll(() => {
  pki = makePki(folder, 'siem')
  other = makePki(folder, 'other', { name: 'other.test' })
})
afterAll(() => rmSync(folder, { recursive: true }))

const made = (index: number, length: number): FoundEntry => {
  const draft = draftOf(index % 3 === 0 ? 'refusal' : 'event', undefined, index % 3 === 0 ? { code: 'forbidden' } : {})
  const at = { time: new Date(0), writer: { slot: 0, epoch: 1, seq: index }, effect: 'durable', salt: () => new Uint8Array(16) } as const
  const { bytes } = encodeEntry({ ...draft, facts: { public: { note: `ü ] " \\ ${'x'.repeat(length)}` } } }, at)
  return { index, bytes, entry: parseEntry(bytes) }
}
const entries: readonly FoundEntry[] = Array.from({ length: 6000 }, (_, index) => made(index, index % 50))
/** As long as entries can be, or nearly so. */
const large: readonly FoundEntry[] = Array.from({ length: 300 }, (_, index) => made(index, 65_000))
const indexOf = (message: string): number => Number(/ index="(\d+)" /.exec(message)?.[1])
const indexes = (messages: readonly string[]): number[] => messages.map(indexOf)
const numbers = (from: number, to: number): number[] => Array.from({ length: to - from }, (_, at) => from + at)

/** The log and the positions as several processes see them. */
class House {
  log = entries
  signed = 0
  position = 0
  leader: Forwarder | undefined
  /** When no forwarder of these tests reads more than this at once, memory is bounded whatever the receiver does. */
  mostAtOnce = 0
  reads = 0
  readonly changes: ForwarderStatus[] = []

  forwarder(receiver: Receiver, times: ForwarderParts['times'] = {}): Forwarder {
    const forwarder: Forwarder = new Forwarder({
      ...{ receiver, origin: 'grid.example/audit', hostname: 'node1' },
      reader: {
        search: ({ from, limit }) => {
          this.reads += 1
          this.mostAtOnce = Math.max(this.mostAtOnce, limit)
          return Promise.resolve(this.log.slice(from, Math.min(from + limit, this.signed)))
        },
      },
      positions: {
        find: () => Promise.resolve({ position: this.position, movedAt: new Date(0) }),
        advance: (_receiver, from, to) => {
          if (this.position !== from) return Promise.resolve(false)
          this.position = to
          return Promise.resolve(true)
        },
      },
      leads: () => this.leader === undefined || this.leader === forwarder,
      signedSize: () => this.signed,
      onChange: (status) => void this.changes.push(status),
      times: { pollMs: 5, retryMs: 5, mostMs: 40, openMs: 2000, stallMs: 300, endMs: 300, ...times },
    })
    return forwarder
  }
}

describe('a forwarder', () => {
  let house: House
  let siem: SyslogReceiver
  let receiver: Receiver
  let started: Forwarder[] = []
  const start = (forwarder: Forwarder): Forwarder => {
    forwarder.start()
    started.push(forwarder)
    return forwarder
  }
  const reached = (position: number): Promise<unknown> =>
    eventually(`position ${String(position)}`, () => (house.position >= position ? true : undefined), { everyMs: 5 })

  beforeEach(async () => {
    house = new House()
    siem = await SyslogReceiver.listen({ certificate: readFileSync(pki.certificate, 'utf8'), key: readFileSync(pki.key, 'utf8') })
    receiver = { name: 'siem', host: '127.0.0.1', port: siem.port, caFile: pki.ca, serverName: RECEIVER_NAME }
  })
  afterEach(async () => {
    await Promise.all(started.map((one) => one.stop()))
    started = []
    await siem.close()
  })

  it('gives every signed entry once, in order, its exact bytes, and nothing that is not signed', async () => {
    house.signed = 5000
    start(house.forwarder(receiver))
    await reached(5000)
    expect(indexes(siem.messages)).toEqual(numbers(0, 5000))
    siem.messages.forEach((message, index) => expect(message.endsWith(`] ${Buffer.from(entries[index]?.bytes ?? '').toString('utf8')}`)).toBe(true))
    house.signed = 5003
    await reached(5003)
    expect(indexes(siem.messages)).toEqual(numbers(0, 5003))
    expect(house.mostAtOnce).toBeLessThanOrEqual(250)
    // The first handshake is whole, the others need not be.
    expect(siem.resumed).toBeGreaterThan(0)
  })

  const bad: readonly (readonly [Manner, string])[] = [
    ['never-reads', 'nobody knows what it has read'],
    ['ends-early', 'before everything was sent'],
    ['resets', ''],
    ['killed', 'was cut'],
    ['never-ends', 'does not end the connection'],
  ]
  it.each(bad)('moves no position for a receiver that %s, says why, and gives it everything once it is well', async (manner, reason) => {
    siem.manner = manner
    house.signed = 500
    const forwarder = start(house.forwarder(receiver))
    const { status } = await eventually('two failures', () => (siem.connections >= 2 && forwarder.status.state === 'failing' ? forwarder : undefined), {
      everyMs: 5,
    })
    expect(status).toMatchObject({ position: 0, lag: 500, state: 'failing', upTo: new Date(0) })
    expect(status.lastError).toContain(reason)
    expect(house.position).toBe(0)
    siem.manner = 'well'
    await reached(500)
    await eventually('it works', () => (forwarder.status.state === 'working' ? true : undefined))
    // Doubles bear their index: without them all is there, in order.
    expect([...new Set(indexes(siem.messages))].sort((a, b) => a - b)).toEqual(numbers(0, 500))
    expect(forwarder.status).toMatchObject({ lag: 0, lastError: undefined })
    expect(house.changes.map(({ state }) => state)).toEqual(['working', 'failing', 'working'])
  })

  it('holds a bounded part of the log, and sends no more than that again', async () => {
    house.log = large
    siem.manner = 'never-reads'
    house.signed = 300
    start(house.forwarder(receiver))
    await eventually('a failure', () => house.changes.find(({ state }) => state === 'failing'))
    // A page of large entries is a batch by itself.
    expect(house.reads).toBeLessThanOrEqual(siem.connections + 1)
    siem.manner = 'well'
    siem.connections = 0
    await reached(300)
    expect(siem.connections).toBeLessThanOrEqual(4)
    expect([...new Set(indexes(siem.messages))]).toEqual(numbers(0, 300))
  })

  it.each([
    ['of another CA', () => ({ caFile: other.ca })],
    ['of another name', () => ({ serverName: 'other.test' })],
    ['whose CA file is gone', () => ({ caFile: join(folder, 'nowhere.pem') })],
  ] as const)('sends nothing to a receiver %s', async (_what, change) => {
    house.signed = 10
    const forwarder = start(house.forwarder({ ...receiver, ...change() }))
    await eventually('a failure', () => (forwarder.status.state === 'failing' ? true : undefined))
    expect(siem.messages).toEqual([])
    expect(house.position).toBe(0)
  })

  it('shows a certificate to a receiver that wants one', async () => {
    await siem.close()
    const parts = { certificate: readFileSync(pki.certificate, 'utf8'), key: readFileSync(pki.key, 'utf8'), clientCa: readFileSync(other.ca, 'utf8') }
    siem = await SyslogReceiver.listen(parts)
    house.signed = 10
    const without = start(house.forwarder({ ...receiver, port: siem.port }))
    await eventually('a failure', () => (without.status.state === 'failing' ? true : undefined))
    expect(siem.messages).toEqual([])
    await without.stop()
    start(house.forwarder({ ...receiver, port: siem.port, certificateFile: other.certificate, keyFile: other.key }))
    await reached(10)
  })

  it('lags while the receiver is away, and catches up when it is back', async () => {
    const { port } = siem
    await siem.close()
    house.signed = 100
    const forwarder = start(house.forwarder(receiver))
    await eventually('a failure', () => (forwarder.status.state === 'failing' ? true : undefined))
    expect(forwarder.status.lastError).toContain('ECONNREFUSED')
    house.signed = 300
    expect(forwarder.status.lag).toBe(300)
    siem = await SyslogReceiver.listen({ certificate: readFileSync(pki.certificate, 'utf8'), key: readFileSync(pki.key, 'utf8') }, port)
    await reached(300)
    expect(indexes(siem.messages)).toEqual(numbers(0, 300))
  })

  it('is one: who does not lead sends nothing, and who takes over goes on at the position', async () => {
    house.signed = 200
    const [first, second] = [house.forwarder(receiver), house.forwarder(receiver)]
    house.leader = first
    start(first)
    start(second)
    await reached(200)
    expect(second.status).toMatchObject({ state: 'standby', position: undefined, lag: 0 })
    house.leader = second
    house.signed = 400
    await reached(400)
    await eventually('the first stands by', () => (first.status.state === 'standby' ? true : undefined))
    expect(indexes(siem.messages)).toEqual(numbers(0, 400))
  })

  it('loses nothing where two think that they lead, and no position goes back', async () => {
    house.signed = 3000
    start(house.forwarder(receiver))
    start(house.forwarder(receiver))
    await reached(3000)
    expect([...new Set(indexes(siem.messages))].sort((a, b) => a - b)).toEqual(numbers(0, 3000))
  })

  it('sends nothing where the log is shorter than what was forwarded', async () => {
    house.signed = 10
    house.position = 20
    const forwarder = start(house.forwarder(receiver))
    await eventually('a failure', () => (forwarder.status.state === 'failing' ? true : undefined))
    expect(forwarder.status.lastError).toContain('set back')
    expect(siem.connections).toBe(0)
  })

  it('stops soon, whatever the receiver does', async () => {
    siem.manner = 'never-ends'
    house.signed = 100
    const forwarder = house.forwarder(receiver, { endMs: 60_000, stallMs: 60_000 })
    forwarder.start()
    await eventually('it waits', () => (siem.messages.length === 100 ? true : undefined))
    const began = performance.now()
    await forwarder.stop()
    expect(performance.now() - began).toBeLessThan(4000)
    expect(house.position).toBe(0)
  })

  it('opens no connection once it was cut', async () => {
    await expect(SyslogConnection.open(receiver, {}, { signal: AbortSignal.abort() })).rejects.toThrow('the service stops')
    expect(siem.connections).toBe(0)
  })
})
