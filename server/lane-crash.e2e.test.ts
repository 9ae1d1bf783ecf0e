import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { waitForOrder } from '../clients/vendor.ts'
import { CrashSite } from './testing/crash-site.ts'
import { eventually, killNow } from './testing/processes.ts'
import { Signers } from './testing/signers.ts'

const RECOVERY_MS = 2_000

let site: CrashSite
let signers: Signers
let orderId: string

beforeAll(async () => {
  site = await CrashSite.open({ GRIDSEAL_LANES: '2' })
  const { keyId } = await site.module.client.post<{ keyId: string }>('/v1/kms/keys', { label: 'readings', algorithm: 'ec-p256' })
  const order = site.newOrder(1_000)
  orderId = await site.submit(order)
  signers = await Signers.start({ module: site.module, url: site.service.url, trust: site.trust, keyId })
  await site.approve(orderId)
})
afterAll(() => site.close())

/** Kills these lanes, and answers how long no signature came, in ms. */
async function killLanes(pids: readonly number[]): Promise<number> {
  const killedAt = performance.now()
  killNow(pids)
  const before = signers.acknowledged.length
  // Answers that were on their way do not count.
  await eventually('signatures again', () => (signers.acknowledged.length > before + 64 ? true : undefined), { everyMs: 5 })
  const gap = performance.now() - killedAt
  await eventually('both lanes', () => (site.lanes.length === 2 ? true : undefined))
  return gap
}

describe('kill -9 of lanes among 32 signers and a running fill', () => {
  it('one lane: the other serves', async () => {
    await sleep(300)
    const [one] = site.lanes
    expect(await killLanes(one === undefined ? [] : [one])).toBeLessThan(RECOVERY_MS)
  })

  it('both lanes: others are there within 2 s', async () => {
    for (const _round of [1, 2]) {
      await sleep(300)
      expect(site.lanes).toHaveLength(2)
      expect(await killLanes(site.lanes)).toBeLessThan(RECOVERY_MS)
    }
  })

  it('the order finishes by itself', async () => {
    await waitForOrder(site.vendor, orderId, { timeoutMs: 60_000 })
    const { report } = await site.open(orderId)
    expect(report).toMatchObject({ ok: true, cards: 1_000, problems: [] })
  })

  it('callers got 503 hsm-unavailable or a right signature, and nothing else', async () => {
    await signers.stop()
    expect(signers.faults).toEqual([])
    expect(signers.unanswered).toBe(0)
    expect(signers.problems.get('503 hsm-unavailable')).toBeGreaterThan(0)
    expect([...signers.problems.keys()]).toEqual(['503 hsm-unavailable'])
    expect(signers.acknowledged.length).toBeGreaterThan(500)
  })

  it('every signature that was answered is in the log, and the log verifies', async () => {
    const { report, entries } = await site.log()
    expect(report).toMatchObject({ ok: true, findings: [] })
    const signed = new Set(
      entries.flatMap(({ id, kind, operation, code }) => (operation === 'kms.key.sign' && kind === 'outcome' && code === 'ok' ? [id as string] : [])),
    )
    expect(signers.acknowledged.filter((id) => !signed.has(id))).toEqual([])
    expect(new Set(signers.acknowledged).size).toBe(signers.acknowledged.length)
  })
})
