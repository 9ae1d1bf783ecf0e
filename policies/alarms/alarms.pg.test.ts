import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { newOperationId } from '../../core/ids.ts'
import { Problem } from '../../core/problem.ts'
import { type TestDatabase, testDatabase } from '../../server/postgres/test-database.ts'
import { LogFault } from '../audit/log-fault.ts'
import type { WitnessStatus } from '../audit/witnessing.ts'
import { type Gate, perform } from '../gate.ts'
import { DatabaseLog } from '../testing/database-log.ts'
import { testSealer } from '../testing/row-sealer.ts'
import { alice, bob, problemOf } from '../testing/two-officers.ts'
import { type ActiveAlarm, alarmFeature, databaseTime } from './index.ts'
import type { AlarmKind } from './kinds.ts'
import { lateCheckpoint, openIntents } from './log-state.pg.ts'
import type { AlarmMonitor } from './monitor.ts'

type Answer = Record<string, unknown>
const NO_ANSWER = 'no answer at all'

/** A log that is away for a while. */
class FrailLog extends DatabaseLog {
  isAway = false
  override transact: DatabaseLog['transact'] = (work) =>
    this.isAway ? Promise.reject(new Problem('log-unavailable', 'The log is gone.')) : super.transact(work)
}

/** One process, with conditions and a clock that the test sets. */
class Node {
  readonly monitor: AlarmMonitor
  readonly told: string[] = []
  readonly wrong = new Map<AlarmKind, string | Error>()
  leads = true
  fault: LogFault | undefined
  witnesses: WitnessStatus[] = []
  nowMs = 0
  failures = 0
  readonly log: FrailLog
  readonly #feature: ReturnType<typeof alarmFeature>

  constructor(log = new FrailLog(db)) {
    this.log = log
    const look = (kind: AlarmKind) => async (): Promise<string | undefined> => {
      const found = this.wrong.get(kind)
      if (found instanceof Error) throw found
      return found === NO_ANSWER ? new Promise<never>(() => undefined) : Promise.resolve(found)
    }
    this.#feature = alarmFeature({
      ...{
        sql: db.sql,
        sealer: testSealer,
        log,
        logStatus: () => ({ leading: this.leads, fault: this.fault }),
        witnesses: () => this.witnesses,
        seconds: 60,
        now: () => new Date(),
      },
      ...{ lookMs: 50, steadyNow: () => this.nowMs, onFailure: () => void (this.failures += 1) },
      conditions: {
        'forwarder-behind': look('forwarder-behind'),
        'verification-failed': look('verification-failed'),
        'clock-step': look('clock-step'),
        'token-away': look('token-away'),
        'log-partitions-run-out': look('log-partitions-run-out'),
        'disk-nearly-full': look('disk-nearly-full'),
      },
      onChange: ({ kind }: ActiveAlarm, is) => void this.told.push(`${kind} ${is}`),
    })
    this.monitor = this.#feature.monitor
  }

  /** Looks every 3 seconds, for so many. */
  async after(seconds: number): Promise<void> {
    for (const end = this.nowMs + seconds * 1000; this.nowMs < end; ) {
      this.nowMs += 3000
      await this.monitor.turn()
    }
  }

  async ask(name: string, body: object, caller = alice): Promise<Answer> {
    const gate: Gate = { log: this.log, decide: () => ({ effect: 'allow', rule: 'test', revision: 'test', reason: '' }) }
    const op = this.#feature.operations.find((one) => one.name === `policies.alarm.${name}`)
    if (op === undefined) throw new Error(`no operation ${name}`)
    return (await perform(gate, op, { caller, body })) as Answer
  }

  get events(): string[] {
    return this.log.entries.filter(({ kind }) => kind === 'event').map(({ operation, facts }) => `${operation} ${String(facts?.public?.['alarmKind'])}`)
  }
  get active(): string[] {
    return this.monitor.active.map(({ kind }) => kind)
  }
}

let db: TestDatabase
beforeEach(async () => {
  db = await testDatabase()
})
afterEach(() => db.close())

const states = async (node: Node): Promise<unknown[]> =>
  ((await node.ask('list', {}))['alarms'] as Answer[]).map(({ kind, state }) => `${String(kind)} ${String(state)}`).sort()

describe('an alarm', () => {
  it('is raised, acknowledged by an officer, and ends when its cause is gone: three entries with the row in each', async () => {
    const node = new Node()
    await node.after(6)
    expect([node.active, node.events]).toEqual([[], []])
    node.wrong.set('disk-nearly-full', '12 MiB are free')
    await node.after(3)
    expect([node.active, node.told, node.events]).toEqual([['disk-nearly-full'], ['disk-nearly-full raised'], ['alarm.raised disk-nearly-full']])
    const [raised] = (await node.ask('list', { open: 'true' }))['alarms'] as Answer[]
    expect(raised).toMatchObject({
      kind: 'disk-nearly-full',
      severity: 'warning',
      state: 'raised',
      detail: '12 MiB are free',
      remedy: expect.stringMatching(/room/) as string,
    })

    const alarmId = String(raised?.['alarmId'])
    const acknowledged = await node.ask('acknowledge', { alarmId, reason: 'a disk is ordered' }, bob)
    expect(acknowledged).toMatchObject({ state: 'acknowledged', acknowledged: { by: 'urn:gridseal:officer:bob', reason: 'a disk is ordered' } })
    expect((await problemOf(node.ask('acknowledge', { alarmId, reason: 'me too' }))).code).toBe('conflict')
    await node.after(30)
    expect(node.active).toEqual(['disk-nearly-full'])

    node.wrong.clear()
    await node.after(60)
    expect(node.active).toEqual(['disk-nearly-full'])
    await node.after(6)
    expect([node.active, await states(node)]).toEqual([[], ['disk-nearly-full cleared']])
    expect(node.events).toEqual(['alarm.raised disk-nearly-full', 'alarm.cleared disk-nearly-full'])
    const versions = node.log.entries.flatMap(({ operation, facts }) =>
      (facts?.rows ?? []).map(({ table, version }) => `${operation} ${table} ${String(version)}`),
    )
    expect(versions).toEqual(['alarm.raised alarms 1', 'policies.alarm.acknowledge alarms 2', 'alarm.cleared alarms 3'])
  })

  it('of another is not found', async () => {
    expect((await problemOf(new Node().ask('acknowledge', { alarmId: newOperationId(), reason: 'x' }))).code).toBe('not-found')
  })

  it('is not raised again by a restart or a take-over, and ends under the next leader', async () => {
    const first = new Node()
    first.wrong.set('token-away', 'away')
    await first.after(9)
    expect(first.events).toEqual(['alarm.raised token-away'])

    const [raisedAt] = (await db.sql.query<{ at: Date }>('SELECT raised_at AS at FROM alarms')).map(({ at }) => at)
    const second = new Node()
    second.leads = false
    second.wrong.set('token-away', 'away')
    await second.after(9)
    expect([second.active, second.events]).toEqual([['token-away'], []])
    second.leads = true
    await second.after(9)
    expect(second.events).toEqual([])

    // One that finds nothing wrong takes the row over, and waits as any other.
    const third = new Node()
    await third.after(3)
    expect([third.active, third.events, third.told]).toEqual([['token-away'], [], ['token-away raised']])
    // Since when it is, not since when this process knows of it; so of the node that found it too.
    for (const node of [second, third]) expect(node.monitor.active[0]?.since).toEqual(raisedAt)
    await third.after(66)
    expect([third.active, third.events]).toEqual([[], ['alarm.cleared token-away']])
    expect(await states(third)).toEqual(['token-away cleared'])
  })

  it('of two nodes that both write is one row and one entry', async () => {
    const log = new FrailLog(db)
    const nodes = [new Node(log), new Node(log), new Node(log)]
    for (const node of nodes) node.wrong.set('clock-step', '5 s apart')
    for (let at = 0; at < 3; at += 1) await Promise.all(nodes.map((node) => node.after(3)))
    expect(nodes[0]?.events).toEqual(['alarm.raised clock-step'])
    expect(nodes.map(({ failures }) => failures)).toEqual([0, 0, 0])
  })

  it('is told without the log, and written down once the log is back, if it lasts', async () => {
    const node = new Node()
    node.log.isAway = true
    node.wrong.set('clock-step', '5 s apart')
    node.wrong.set('disk-nearly-full', 'full')
    await node.after(6)
    expect([node.active, node.told, node.events]).toEqual([['clock-step', 'disk-nearly-full'], ['clock-step raised', 'disk-nearly-full raised'], []])
    expect(node.failures).toBeGreaterThan(0)
    node.wrong.delete('disk-nearly-full')
    await node.after(66)
    node.log.isAway = false
    await node.after(3)
    expect([node.active, node.events]).toEqual([['clock-step'], ['alarm.raised clock-step']])
  })

  it('that nobody can look at stays, and holds up no other', async () => {
    const node = new Node()
    node.wrong.set('token-away', 'away')
    await node.after(6)
    node.wrong.set('token-away', NO_ANSWER)
    node.wrong.set('clock-step', new Error('no'))
    node.wrong.set('disk-nearly-full', 'full')
    await node.after(3)
    expect(node.active).toEqual(['token-away', 'disk-nearly-full'])
  })

  it('that comes and goes all day fills no log', { timeout: 60_000 }, async () => {
    const node = new Node()
    for (let minute = 0; minute < 600; minute += 1) {
      if (minute % 4 < 2) node.wrong.set('clock-step', 'it jumped')
      else node.wrong.clear()
      node.nowMs += 57_000
      await node.monitor.turn()
      node.nowMs += 3000
      await node.monitor.turn()
    }
    expect(node.events.length).toBeGreaterThan(1)
    expect(node.events.length).toBeLessThanOrEqual(120)
  })

  it.each([
    ['group-gap', 'writer-gap'],
    ['group-mac', 'group-forged'],
    ['group-chain', 'group-forged'],
    ['database-behind', 'history-changed'],
    ['head-inconsistent', 'history-changed'],
  ] as const)('tells that the log has stopped for %s, though nobody leads then', async (code, kind) => {
    const node = new Node()
    node.leads = false
    node.fault = new LogFault(code, 'somebody was here')
    await node.after(3)
    expect([node.active, node.events]).toEqual([[kind], [`alarm.raised ${kind}`]])
    expect(node.monitor.active[0]?.detail).toContain('somebody was here')
  })

  it('tells of witnesses that are behind, and of one that has another history', async () => {
    const node = new Node()
    const witness = (name: string, state: WitnessStatus['state']): WitnessStatus => ({
      ...{ name, state, url: 'http://w', since: new Date(0), size: 5, lag: 2, lastSuccess: undefined, problem: 'it says no' },
    })
    node.witnesses = [witness('a', 'ready'), witness('b', 'waiting')]
    await node.after(3)
    expect(node.active).toEqual([])
    node.witnesses = [witness('a', 'behind'), witness('b', 'other-history'), witness('c', 'behind')]
    await node.after(3)
    expect(node.active).toEqual(['witness-behind', 'witness-other-history'])
    expect(node.monitor.active[0]?.detail).toBe(
      'a: 2 entries since 1970-01-01T00:00:00.000Z (it says no); c: 2 entries since 1970-01-01T00:00:00.000Z (it says no)',
    )
  })

  it('that was edited in the database is refused, and the others are told all the same', async () => {
    const node = new Node()
    node.wrong.set('clock-step', '5 s apart')
    await node.after(3)
    await db.ownerSql.query('ALTER TABLE alarms DISABLE TRIGGER USER')
    await db.ownerSql.query(`UPDATE alarms SET acknowledged_by = 'urn:gridseal:officer:bob', acknowledged_at = now(), acknowledged_for = 'fine'`)
    node.wrong.set('disk-nearly-full', 'full')
    await node.after(3)
    expect(node.active).toEqual(['clock-step', 'disk-nearly-full'])
    expect(node.failures).toBe(1)
    expect((await problemOf(node.ask('list', {}))).code).toBe('integrity-failed')
  })

  it('cannot be deleted by the service', async () => {
    await expect(db.sql.query('DELETE FROM alarms')).rejects.toMatchObject({ code: '42501' })
    await expect(db.sql.query(`UPDATE alarms SET detail = 'x'`)).rejects.toMatchObject({ code: '42501' })
  })
})

describe('what the log’s tables say', () => {
  it('names operations that are open for too long', async () => {
    expect(await openIntents(db.sql, 60)).toBeUndefined()
    const ids = Array.from({ length: 7 }, () => newOperationId())
    await db.ownerSql.query(
      `INSERT INTO open_intents (operation_id, writer, epoch, seq, opened_at) SELECT id, 0, 1, 0, clock_timestamp() - interval '61 seconds' FROM unnest($1::uuid[]) id`,
      [ids],
    )
    expect(await openIntents(db.sql, 60)).toMatch(/^7 open, the oldest since 20.*Z: ([0-9a-f-]{36}, ){5}\.\.\.$/)
    expect(await openIntents(db.sql, 62)).toBeUndefined()
  })

  it('tells of entries that wait, sequenced or not', async () => {
    expect(await lateCheckpoint(db.sql, 1)).toBeUndefined()
    await db.ownerSql.query('INSERT INTO audit_writers (writer, epoch) VALUES (0, 1)')
    await db.ownerSql.query(
      `INSERT INTO audit_groups (writer, epoch, first_seq, count, bundle, chain, mac, created_at)
       VALUES (0, 1, 0, 1, ''::bytea, sha256(''), decode(repeat('00', 16), 'hex'), clock_timestamp() - interval '30 seconds')`,
    )
    expect(await lateCheckpoint(db.sql, 40)).toBeUndefined()
    expect(await lateCheckpoint(db.sql, 20)).toMatch(/^entries wait since 20..-..-..T..:..:..Z$/)
    await db.ownerSql.query(`INSERT INTO audit_sequenced (writer, epoch, next_seq, chain) VALUES (0, 1, 1, sha256(''))`)
    expect(await lateCheckpoint(db.sql, 20)).toBeUndefined()
    await db.ownerSql.query('UPDATE audit_head SET size = 1')
    expect(await lateCheckpoint(db.sql, 20)).toBe('entries wait since the beginning')
    await db.ownerSql.query(`INSERT INTO audit_checkpoints VALUES (1, 'note', clock_timestamp() - interval '1 hour')`)
    expect(await lateCheckpoint(db.sql, 20)).toBeUndefined()
  })

  it('has its clock beside the last checkpoint’s time', async () => {
    expect((await databaseTime(db.sql)).lastCheckpoint).toBeUndefined()
    await db.ownerSql.query(`INSERT INTO audit_checkpoints VALUES (1, 'note')`)
    const { now, lastCheckpoint } = await databaseTime(db.sql)
    expect(now.getTime()).toBeGreaterThanOrEqual(lastCheckpoint?.getTime() ?? Number.POSITIVE_INFINITY)
  })
})
