import { randomBytes } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { connect, createServer, type Server, type Socket } from 'node:net'
import { once } from 'node:events'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { testDatabase, type TestDatabase } from '../../server/postgres/test-database.ts'
import { eventually } from '../../server/testing/processes.ts'
import { logKey } from './checkpoint.ts'
import { checkpointFile } from './checkpoint-file.ts'
import { PgSequencerStore } from './sequencer.pg.ts'
import { Sequencer } from './sequencer.ts'
import { Leader } from './testing/leader.ts'
import { softKeys } from './testing/soft-keys.ts'

/** Between a leader and the database: cut, it swallows everything and says nothing, as a network does. */
class Wire {
  readonly #server: Server
  readonly #sockets = new Set<Socket>()
  isCut = false

  constructor(target: { readonly host: string; readonly port: number }) {
    this.#server = createServer((near) => {
      const far = connect(target.host.startsWith('/') ? { path: join(target.host, `.s.PGSQL.${target.port}`) } : target)
      for (const [from, to] of [
        [near, far],
        [far, near],
      ] as const) {
        this.#sockets.add(from)
        from.on('data', (chunk: Buffer) => void (this.isCut || to.write(chunk)))
        from.on('close', () => void (this.isCut || to.destroy()))
        from.on('error', () => undefined)
      }
    })
  }

  async listen(): Promise<number> {
    this.#server.listen(0, '127.0.0.1')
    await once(this.#server, 'listening')
    return (this.#server.address() as { port: number }).port
  }

  close(): void {
    for (const socket of this.#sockets) socket.destroy()
    this.#server.close()
  }
}

let db: TestDatabase
let folder: string
const seed = randomBytes(32)
const leaders: Leader[] = []

beforeEach(async () => {
  db = await testDatabase()
  folder = mkdtempSync(join(tmpdir(), 'gridseal-leaders-'))
})
afterEach(async () => {
  await Promise.all(leaders.splice(0).map((leader) => leader.kill()))
  await db.close()
  rmSync(folder, { recursive: true })
})

function start(name: string, url = db.serviceUrl): Leader {
  const leader = new Leader({ url, file: join(folder, name), seed })
  leaders.push(leader)
  return leader
}
const until = (what: () => boolean): Promise<true> => eventually('a leader that acts', () => (what() ? true : undefined), { everyMs: 10 })

/** Every entry that was acknowledged is in the tree once, and every root that was signed is the tree's at that size. */
async function expectOneHistory(all: readonly Leader[]): Promise<void> {
  const keys = softKeys(seed)
  const signedHere: string[] = []
  const sequencer = new Sequencer({
    store: new PgSequencerStore({ connect: db.database.connect, sql: db.sql }),
    anchors: all.map(({ file }) => checkpointFile(file)),
    key: logKey('grid.example/audit', 'ed25519', keys.checkpointKey.publicKey),
    checkGroups: keys.checkGroups,
    signCheckpoint: (text) => {
      signedHere.push(Buffer.from(text).toString('utf8').split('\n').slice(1, 3).join(' '))
      return keys.signCheckpoint(text)
    },
  })
  await sequencer.flush()
  await sequencer.stop()
  const signed = new Map<string, string>()
  for (const line of [...all.flatMap((leader) => leader.told('signs')), ...signedHere]) {
    const [size = '', root = ''] = line.split(' ')
    expect(signed.get(size) ?? root, `two roots over ${size} entries`).toBe(root)
    signed.set(size, root)
  }
  for (const { note } of await db.sql.query<{ note: string }>('SELECT note FROM audit_checkpoints ORDER BY size')) {
    const [, size = '', root] = note.split('\n')
    expect(signed.get(size)).toBe(root)
  }
  const acknowledged = all.flatMap((leader) => leader.told('acknowledged'))
  const found = await db.sql.query<{ operation_id: string }>('SELECT operation_id FROM audit_entries')
  const counts = new Map<string, number>()
  for (const { operation_id } of found) counts.set(operation_id, (counts.get(operation_id) ?? 0) + 1)
  expect(acknowledged.filter((id) => counts.get(id) !== 1)).toEqual([])
}

/** How long it took until the other one signed. */
async function takeOver(by: Leader, fault: () => unknown): Promise<number> {
  const began = performance.now()
  await fault()
  await until(() => by.leads && by.told('signs', began).length > 0)
  return performance.now() - began
}

describe('another takes over within 5 s', () => {
  it('from a leader that is frozen, killed or cut off, and what comes back signs nothing', async () => {
    const target = new URL(db.serviceUrl)
    const wire = new Wire({ host: target.searchParams.get('host') ?? target.hostname, port: Number(target.port || '5432') })
    Object.assign(target, { hostname: '127.0.0.1', port: String(await wire.listen()) })
    target.searchParams.delete('host')
    const first = start('first', target.href)
    await until(() => first.leads && first.told('signs').length > 1)
    const second = start('second')
    await until(() => second.told('acknowledged').length > 0)
    expect(second.leads).toBe(false)

    const frozenMs = await takeOver(second, () => first.signal('SIGSTOP'))
    const thawed = performance.now()
    first.signal('SIGCONT')
    await sleep(2000)
    expect([first.told('signs', thawed), second.leads]).toEqual([[], true])

    const killedMs = await takeOver(first, () => second.kill())

    const third = start('third')
    await until(() => third.told('acknowledged').length > 0)
    const cutMs = await takeOver(third, () => (wire.isCut = true))
    const back = performance.now()
    wire.isCut = false
    await sleep(2000)
    expect([first.told('signs', back), third.leads]).toEqual([[], true])

    await Promise.all(leaders.map((leader) => leader.kill()))
    await expectOneHistory(leaders)
    wire.close()
    for (const [how, tookMs] of Object.entries({ frozenMs, killedMs, cutMs })) expect(tookMs, how).toBeLessThan(5000)
  })
})

/** Seconds. 60 for a longer look. */
const FIGHT_S = Number(process.env['GRIDSEAL_TEST_FIGHT_SECONDS'] ?? 10)

describe('two that fight to lead', () => {
  it('while leaders are killed and frozen make one history; a database set back is refused by both', { timeout: (FIGHT_S + 60) * 1000 }, async () => {
    const names = ['first', 'second'] as const
    const current = new Map(names.map((name) => [name, start(name)] as const))
    const end = performance.now() + FIGHT_S * 1000
    let copy: TestDatabase | undefined
    let [deaths, round] = [0, 0]
    while (performance.now() < end) {
      await sleep(500 + Math.random() * 1500)
      const victim = names.find((name) => current.get(name)?.leads === true) ?? 'first'
      if ((round += 1) % 3 === 0) {
        const frozen = current.get(victim)
        frozen?.signal('SIGSTOP')
        await sleep(3600)
        frozen?.signal('SIGCONT')
      } else {
        await current.get(victim)?.kill()
        current.set(victim, start(victim))
      }
      deaths += 1
      copy ??= await testDatabase({ like: db })
    }
    await until(() => leaders.some((leader) => leader.leads))
    await sleep(1500)
    await Promise.all(leaders.map((leader) => leader.kill()))
    await expectOneHistory(leaders)
    expect(deaths).toBeGreaterThan(2)

    const url = copy?.serviceUrl ?? ''
    const back = names.map((name) => start(name, url))
    await until(() => back.every((leader) => leader.told('fault').length > 0))
    expect(back.map((leader) => [leader.told('fault'), leader.told('signs')])).toEqual(names.map(() => [['database-behind'], []]))
    await Promise.all(back.map((leader) => leader.kill()))
    await copy?.close()
  })
})
