import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { TamperingSite } from './testing/tampering-site.ts'

let site: TamperingSite
beforeAll(async () => {
  site = await TamperingSite.open()
}, 120_000)
afterAll(() => site?.close())

describe('the database of a service that nobody tampered with', () => {
  it('is found to be what the log says', async () => {
    const t = performance.now()
    const { report, ...found } = await site.detect(() => Promise.resolve())
    console.log(performance.now() - t, found, report?.findings, report)
    expect(found).toEqual({ start: undefined, check: [], verifier: [] })
  })
})
