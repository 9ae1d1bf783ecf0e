import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { TamperingSite } from './testing/tampering-site.ts'
import { Random, TAMPERINGS } from './testing/tamperings.ts'

let site: TamperingSite
beforeAll(async () => {
  site = await TamperingSite.open()
}, 120_000)
afterAll(() => site?.close())

describe('the database of a service that nobody tampered with', () => {
  it('is found to be what the log says', async () => {
    const { report, ...found } = await site.detect(() => Promise.resolve())
    expect(report?.findings).toEqual([])
    expect(found).toEqual({ start: undefined, check: [], verifier: [] })
  })
})

describe('tampering', () => {
  it.each(Object.entries(TAMPERINGS))('%s', { timeout: 60_000 }, async (kind, tamper) => {
    const t = performance.now()
    const found = await site.detect((victim) => tamper(victim, new Random(Number(process.env['SEED'] ?? 1))))
    console.log(`@@ ${kind} | ${found.start} | ${found.check.join(', ')} | ${found.verifier.join(', ')} | ${Math.round(performance.now() - t)}`)
    console.log(found.report?.findings.slice(0, 4).map((f) => `   ${f.code} ${f.subject}: ${f.detail} ${f.since}`).join('\n'))
  })
})
