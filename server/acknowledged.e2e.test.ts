import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { CrashSite } from './testing/crash-site.ts'
import { eventually } from './testing/processes.ts'
import { Signers } from './testing/signers.ts'

const ROUNDS = [1, 2, 3, 4, 5]

let site: CrashSite
let keyId: string
/** Operation ids of all answers of success. */
const acknowledged: string[] = []

beforeAll(async () => {
  site = await CrashSite.open()
  ;({ keyId } = await site.module.client.post<{ keyId: string }>('/v1/kms/keys', { label: 'readings', algorithm: 'ec-p256' }))
})
afterAll(() => site.close())

const startSigners = (): Promise<Signers> => Signers.start({ module: site.module, url: site.service.url, trust: site.trust, keyId })

/** A moment in which signatures are certainly under way. */
async function underWay(signers: Signers): Promise<void> {
  await eventually('signatures', () => (signers.acknowledged.length > 100 ? true : undefined), { everyMs: 5 })
  await sleep(Math.random() * 300)
}

function keep(signers: Signers): void {
  expect(signers.faults).toEqual([])
  expect(signers.acknowledged.length).toBeGreaterThan(100)
  acknowledged.push(...signers.acknowledged)
}

/** What is wrong with the log, and what was acknowledged and is not in it. */
async function missing(): Promise<object> {
  const { report, entries } = await site.log()
  const signed = new Set(entries.flatMap(({ id, operation, code }) => (operation === 'kms.key.sign' && code === 'ok' ? [id as string] : [])))
  return { findings: report.findings, lost: acknowledged.filter((id) => !signed.has(id)) }
}

describe('nothing acknowledged is lost while 32 connections sign', () => {
  it.each(ROUNDS)('kill -9 of the service, round %i', async () => {
    const signers = await startSigners()
    await underWay(signers)
    await site.kill()
    await signers.stop()
    keep(signers)
    await site.start()
    expect(await missing()).toEqual({ findings: [], lost: [] })
  })

  it.each(ROUNDS)('kill -9 of PostgreSQL, round %i: callers get 503, and the service comes back by itself', async () => {
    const signers = await startSigners()
    await underWay(signers)
    site.killDatabase()
    const before = signers.acknowledged.length
    await eventually('signatures again', () => (signers.acknowledged.length > before + 64 ? true : undefined))
    await signers.stop()
    keep(signers)
    expect([...signers.problems.keys()].filter((code) => !code.startsWith('503 '))).toEqual([])
    expect(signers.unanswered).toBe(0)
    expect(await missing()).toEqual({ findings: [], lost: [] })
  })
})
