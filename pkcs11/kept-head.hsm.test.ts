import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type OpenHsm, openHsm } from './open.ts'

const ORIGIN = 'grid.example/audit'
const noteOf = (size: number, text = ''): string => `${ORIGIN}\n${size}\nroot${text}\n\n\u2014 signature\n`

let folder: string
let opened: OpenHsm
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'gridseal-head-'))
  opened = await openHsm({ dataFolder: folder, lanes: 2 })
})
afterAll(async () => {
  await opened.close()
  rmSync(folder, { recursive: true, force: true })
})

describe('the head that the token keeps', () => {
  it('is the largest of its origin, whoever writes last, and outlives lanes and process', async () => {
    const { integrity } = opened
    expect(await integrity.readHeads(ORIGIN)).toEqual([])
    for (const size of [1, 7, 7, 5]) await integrity.keepHead(ORIGIN, noteOf(size))
    await integrity.keepHead('other.example', noteOf(3))
    expect(await integrity.readHeads(ORIGIN)).toEqual([noteOf(7)])
    await integrity.keepHead(ORIGIN, noteOf(7, 'another'))
    expect(await integrity.readHeads(ORIGIN)).toEqual([noteOf(7)])
    await Promise.all(Array.from({ length: 20 }, (_, at) => integrity.keepHead(ORIGIN, noteOf(100 + at))))
    await integrity.keepHead(ORIGIN, noteOf(200))
    expect(await integrity.readHeads(ORIGIN)).toEqual([noteOf(200)])
    await opened.close()
    opened = await openHsm({ dataFolder: folder, lanes: 1 })
    expect([await opened.integrity.readHeads(ORIGIN), await opened.integrity.readHeads('other.example')]).toEqual([[noteOf(200)], [noteOf(3)]])
  })

  it('costs what it is written for once a minute', async () => {
    const began = performance.now()
    for (let size = 300; size < 320; size += 1) await opened.integrity.keepHead(ORIGIN, noteOf(size))
    expect((performance.now() - began) / 20).toBeLessThan(500)
  })
})
