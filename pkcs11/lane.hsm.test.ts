import { mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { utf8 } from '../core/bytes.ts'
import { keyId } from '../core/ids.ts'
import { Problem } from '../core/problem.ts'
import { withTestPermit } from '../policies/testing/memory-gate.ts'
import { entryUrl } from './child.ts'
import { Lane } from './lane.ts'
import { openLanes } from './open.ts'

let folder: string
let opened: Awaited<ReturnType<typeof openLanes>>
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'gridseal-lane-'))
  opened = await openLanes({ dataFolder: folder, lanes: 2, deadlineMs: 1_500 }, entryUrl('lane-process'))
})
afterAll(async () => {
  await opened.open.close()
  rmSync(folder, { recursive: true, force: true })
})

const mac = (): Promise<Uint8Array> => opened.open.integrity.macGroup(utf8('group'))
/** Asks until it is answered; how long that took. Every refusal on the way is `hsm-unavailable`, and quick. */
async function untilAnswered(answer: Uint8Array): Promise<number> {
  const start = performance.now()
  for (;;) {
    const asked = performance.now()
    try {
      expect(await mac()).toEqual(answer)
      return performance.now() - start
    } catch (error) {
      if (!(error instanceof Problem)) throw error
      expect(error).toMatchObject({ code: 'hsm-unavailable', status: 503 })
      expect(performance.now() - asked).toBeLessThan(2_000)
      if (performance.now() - start > 10_000) throw error
      await wait(20)
    }
  }
}

describe('a lane that has made many objects', () => {
  it('is exchanged for a fresh process, and every call is answered', async () => {
    const own = mkdtempSync(join(tmpdir(), 'gridseal-lane-'))
    const states: string[] = []
    const { open, lanes } = await openLanes(
      { dataFolder: own, lanes: 1, mostMade: 300, onTokenState: ({ state }) => void states.push(state) },
      entryUrl('lane-process'),
    )
    const pids = new Set<number | undefined>()
    const id = keyId('k')
    const generate = (): Promise<unknown> => withTestPermit([{ action: 'generate', keyId: id }], (permit) => open.hsm.generate(permit, id, 'hmac-sha256'))
    // Ends with the fourth process; the time is for a machine that has much else to do.
    const until = performance.now() + 20_000
    const caller = async (): Promise<void> => {
      while (performance.now() < until && pids.size < 4) {
        expect(await generate()).toMatchObject({ kcv: { method: 'hmac-sha256' } })
        pids.add(lanes.all[0]?.pid)
      }
    }
    await Promise.all(Array.from({ length: 8 }, caller))
    expect(pids.size).toBe(4)
    expect(open.stats().lanes).toMatchObject({ restarts: 3, deadlines: 0 })
    expect(states).toEqual(['ready'])
    await open.close()
    rmSync(own, { recursive: true, force: true })
  })
})

describe('a lane that is closed while its process starts', () => {
  it('tells who waits for it, and is not started again', async () => {
    const settings = { ...opened.token, cachedKeys: 1 }
    const listener = { onStatus: () => undefined, onStranded: <Calls>(calls: Calls) => calls }
    const lane = new Lane({ entry: entryUrl('lane-process'), environment: opened.environment, settings }, listener)
    const started = expect(lane.start()).rejects.toMatchObject({ code: 'hsm-unavailable' })
    await lane.close()
    await started
    expect(lane.status.state).toBe('closed')
    expect(lane.pid).toBeUndefined()
  })
})

describe('a lane that finds two messages at once', () => {
  const start = async (): Promise<{ readonly lane: Lane; readonly ask: (verb: string, alone?: boolean) => Promise<number> }> => {
    const settings = { ...opened.token, cachedKeys: 1 }
    const listener = { onStatus: () => undefined, onStranded: <Calls>(calls: Calls) => calls }
    const lane = new Lane({ entry: entryUrl('testing/order-lane-process'), environment: opened.environment, settings }, listener)
    await lane.start()
    // Each weighs a message.
    const ask = (verb: string, alone = false): Promise<number> =>
      lane.call(verb as 'identify', undefined, { weight: 128, alone }) as Promise<unknown> as Promise<number>
    return { lane, ask }
  }

  it('answers the first before it begins the second', async () => {
    const { lane, ask } = await start()
    expect(await Promise.all([ask('hold'), ask('hold'), ask('look'), ask('look')])).toEqual([0, 1, 2, 3])
    await lane.close()
  })

  it('does not begin the second when the first ends it', async () => {
    const { lane, ask } = await start()
    const [held, ...others] = await Promise.allSettled([ask('hold', true), ask('fail'), ask('look')])
    expect(held).toEqual({ status: 'fulfilled', value: 0 })
    for (const other of others) expect(other).toMatchObject({ status: 'rejected', reason: { code: 'hsm-unavailable' } })
    await lane.close()
  })
})

describe('lanes', () => {
  it('kill -9 of every lane in the middle of traffic: each call is answered rightly or 503, and lanes come back', async () => {
    const answer = await mac()
    const before = opened.open.stats().lanes
    expect(before).toMatchObject({ count: 2, ready: 2 })
    let right = 0
    let refused = 0
    const end = performance.now() + 1_500
    const caller = async (): Promise<void> => {
      while (performance.now() < end) {
        try {
          expect(await mac()).toEqual(answer)
          right++
        } catch (error) {
          expect(error).toMatchObject({ code: 'hsm-unavailable' })
          refused++
          await wait(5)
        }
      }
    }
    const callers = Array.from({ length: 64 }, caller)
    await wait(200)
    for (const lane of opened.lanes.all) process.kill(lane.pid as number, 'SIGKILL')
    await Promise.all(callers)
    expect(right).toBeGreaterThan(100)
    expect(refused).toBeGreaterThan(0)
    expect(await untilAnswered(answer)).toBeLessThan(5_000)
    expect(opened.open.stats().lanes.restarts).toBe(before.restarts + 2)
  })

  it('one of two lanes killed: the other goes on', async () => {
    await untilAnswered(await mac())
    while (opened.open.stats().lanes.ready < 2) await wait(20)
    process.kill(opened.lanes.all[0]?.pid as number, 'SIGKILL')
    while (opened.open.stats().lanes.ready > 1) await wait(1)
    for (let call = 0; call < 20; call++) expect(await mac()).toHaveLength(16)
    while (opened.open.stats().lanes.ready < 2) await wait(20)
  })

  it('a lane that hangs is killed at its deadline, and replaced', async () => {
    const answer = await mac()
    const before = opened.open.stats().lanes.deadlines
    const pids = opened.lanes.all.map((lane) => lane.pid as number)
    for (const pid of pids) process.kill(pid, 'SIGSTOP')
    const start = performance.now()
    await expect(Promise.all([mac(), mac(), mac()])).rejects.toMatchObject({ code: 'hsm-unavailable' })
    expect(performance.now() - start).toBeLessThan(3_000)
    for (const lane of opened.lanes.all) if (pids.includes(lane.pid as number) && lane.isReady) process.kill(lane.pid as number, 'SIGCONT')
    await untilAnswered(answer)
    expect(opened.open.stats().lanes.deadlines).toBeGreaterThan(before)
  })

  it('the token taken away: 503 at once and no new token; put back: served again within seconds, by itself', async () => {
    const answer = await mac()
    const [here, away] = [join(folder, 'token'), join(folder, 'away')]
    renameSync(here, away)
    await wait(700) // lanes look twice a second
    for (let call = 0; call < 5; call++) {
      const asked = performance.now()
      await expect(mac()).rejects.toMatchObject({ code: 'hsm-unavailable' })
      expect(performance.now() - asked).toBeLessThan(500)
      await wait(200)
    }
    renameSync(away, here)
    expect(await untilAnswered(answer)).toBeLessThan(5_000)
  })

  it('many calls of one turn are all answered rightly', async () => {
    const answer = await mac()
    const answers = await Promise.all(Array.from({ length: 2_000 }, mac))
    expect(answers.every((one) => Buffer.from(one).equals(answer))).toBe(true)
  })

  // The last: the lane stays down.
  it('a PIN that the token refuses is tried once, and not until the token locks', async () => {
    while (opened.open.stats().lanes.ready < 2) await wait(20)
    const { restarts } = opened.open.stats().lanes
    writeFileSync(join(folder, 'pins', 'user.pin'), 'not-the-pin\n')
    process.kill(opened.lanes.all[0]?.pid as number, 'SIGKILL')
    await wait(2_500)
    expect(opened.open.stats().lanes).toMatchObject({ ready: 1, restarts: restarts + 1 })
    expect(await mac()).toHaveLength(16)
  })
})
