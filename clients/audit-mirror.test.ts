import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { utf8 } from '../core/bytes.ts'
import { withSignatures } from '../policies/audit/cosignature.ts'
import { encodeBundle } from '../policies/audit/group.ts'
import { splitNote } from '../policies/audit/note.ts'
import { testWitness } from '../policies/audit/testing/test-witness.ts'
import { parseWitnessPolicy } from '../policies/audit/witness-policy.ts'
import { tilePath, tilesOf } from '../policies/audit/tile-path.ts'
import { tileLog, tileLogKey, type TileLog, usualEntries } from '../policies/audit/testing/tile-log.ts'
import { mirror, type Mirrored, MirrorError, type MirroredLog } from './audit-mirror.ts'
import { verifyLog } from './audit-verify.ts'

let folder: string
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'gridseal-mirror-'))
})
afterEach(() => rmSync(folder, { recursive: true }))

const entries = usualEntries(2000)

/** The service's side: what it is asked for is noted. */
function served(log: TileLog, asked: string[] = [], changed: (bytes: Uint8Array) => Uint8Array = (bytes) => bytes): MirroredLog {
  return {
    checkpoint: () => Promise.resolve({ note: log.note }),
    bundles: (index, count, width) => {
      asked.push(`${index}+${count}/${width}`)
      const from = 256 * index
      return Promise.resolve(changed(encodeBundle(log.entries.slice(from, from + 256 * (count - 1) + width))))
    },
  }
}
const bring = (log: MirroredLog): Promise<Mirrored> => mirror({ log, folder, keys: [tileLogKey.vkey], batch: 4 })
const verified = () => verifyLog({ log: folder, vkey: tileLogKey.vkey, threads: 1 })
const files = (): string[] =>
  readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name).slice(folder.length + 1))
    .toSorted()

describe('a mirror', () => {
  it('is a static tlog-tiles log at every size, and asks for nothing twice', async () => {
    const asked: string[] = []
    let from = 0
    for (const to of [1, 256, 257, 300, 2000]) {
      expect(await bring(served(tileLog(entries.slice(0, to)), asked))).toEqual({ from, to })
      expect(await verified()).toMatchObject({ ok: true, size: to, findings: [] })
      from = to
    }
    expect(asked).toEqual(['0+1/1', '0+1/256', '1+1/1', '1+1/44', '1+4/256', '5+3/208'])
    expect(await bring(served(tileLog(entries), asked))).toEqual({ from: 2000, to: 2000 })
    expect(asked).toHaveLength(6)
    // Of partial tiles only those whose full ones are not there.
    const full = new Set(files())
    expect(files().filter((path) => /\.p\/\d+$/.test(path) && full.has(path.replace(/\.p\/\d+$/, '')))).toEqual([])
    expect(files()).toEqual(expect.arrayContaining([...tilesOf(2000)].map(tilePath)))
  })

  it('goes on where it was cut off', async () => {
    const asked: string[] = []
    const log = tileLog(entries)
    let left = 1
    const cutOff: MirroredLog = {
      ...served(log, asked),
      bundles: (...args) => ((left -= 1) < 0 ? Promise.reject(new Error('cut off')) : served(log, asked).bundles(...args)),
    }
    await expect(bring(cutOff)).rejects.toThrow('cut off')
    expect(files()).not.toContain('checkpoint')
    writeFileSync(join(folder, 'tile/entries/006.new'), 'half')
    expect(await bring(served(log, asked))).toEqual({ from: 0, to: 2000 })
    expect(asked).toEqual(['0+4/256', '4+4/208'])
    expect(await verified()).toMatchObject({ ok: true, size: 2000 })
  })

  it('fetches again what an earlier run left damaged', async () => {
    const log = tileLog(entries.slice(0, 600))
    await bring(served(tileLog(entries.slice(0, 300))))
    writeFileSync(join(folder, 'tile/entries/002.p', '..', '001'), encodeBundle(usualEntries(256)))
    writeFileSync(join(folder, 'tile/entries/001'), utf8('not a bundle'))
    expect(await bring(served(log))).toEqual({ from: 300, to: 600 })
    expect(await verified()).toMatchObject({ ok: true, size: 600 })
  })

  it.each<[string, () => MirroredLog, RegExp]>([
    ['was set back', () => served(tileLog(entries.slice(0, 299))), /set back/],
    ['has another history of the same size', () => served(tileLog(usualEntries(300))), /another root/],
    ['has another history', () => served(tileLog(usualEntries(700))), /another root/],
    ['shows other entries than it signed', () => served(tileLog(entries.slice(0, 700)), [], (bytes) => ((bytes[bytes.length - 5] = 0), bytes)), /another root/],
    ['shows another beginning of a bundle', () => served(tileLog(entries.slice(0, 700)), [], (bytes) => ((bytes[20] = 0), bytes)), /another root/],
    ['shows fewer entries', () => served(tileLog(entries.slice(0, 700)), [], (bytes) => bytes.slice(0, -700)), /another root/],
    [
      'has signed more than there can be',
      () => ({ ...served(tileLog(entries)), checkpoint: () => Promise.resolve({ note: tileLog(entries).noteAt(10 ** 15) }) }),
      /another root/,
    ],
    ['shows no bundle', () => served(tileLog(entries.slice(0, 700)), [], (bytes) => bytes.slice(0, -1)), /another root/],
    ['shows no checkpoint', () => ({ ...served(tileLog(entries)), checkpoint: () => Promise.resolve({ note: '' }) }), /does not verify/],
  ])('stays as it is where the log %s', async (_what, log, message) => {
    await bring(served(tileLog(entries.slice(0, 300))))
    const [before, kept] = [readFileSync(join(folder, 'checkpoint')), files()]
    const error: unknown = await bring(log()).catch((thrown: unknown) => thrown)
    expect(error).toBeInstanceOf(MirrorError)
    expect(String(error)).toMatch(message)
    expect(readFileSync(join(folder, 'checkpoint'))).toEqual(before)
    expect(files()).toEqual(kept)
    expect(await verified()).toMatchObject({ ok: true, size: 300 })
    expect(await bring(served(tileLog(entries.slice(0, 700))))).toEqual({ from: 300, to: 700 })
  })

  it('is not gone on with where it was changed itself', async () => {
    await bring(served(tileLog(entries.slice(0, 300))))
    writeFileSync(join(folder, 'tile/0/001.p/44'), new Uint8Array(44 * 32))
    await expect(bring(served(tileLog(entries)))).rejects.toThrow('are not those of its own checkpoint')
  })
})

describe('a mirror whose checkpoint has to be cosigned', () => {
  const [first, second] = [testWitness('witness.example/w1'), testWitness('witness.example/w2')]
  const policy = parseWitnessPolicy(
    utf8(`witness w1 ${first.key.vkey} https://w1.example\nwitness w2 ${second.key.vkey} https://w2.example\ngroup both 2 w1 w2\nquorum both\n`),
  )
  const log = tileLog(entries.slice(0, 300))
  const cosigned = (size: number, ...witnesses: (typeof first)[]): string => {
    const note = log.noteAt(size)
    return withSignatures(
      note,
      witnesses.map(({ cosign }) => cosign(splitNote(note).text, 1_790_000_000)),
    )
  }
  const bringCosigned = (witnessed?: string): Promise<Mirrored> =>
    mirror({
      log: { ...served(log), checkpoint: () => Promise.resolve({ note: log.note, ...(witnessed === undefined ? {} : { witnessed }) }) },
      ...{ folder, keys: [tileLogKey.vkey], policy },
    })
  const verify = () => verifyLog({ log: folder, vkey: tileLogKey.vkey, policy, threads: 1 })

  it('takes the newest that the witnesses cosigned, and is verified by the same policy', async () => {
    expect(await bringCosigned(cosigned(280, first, second))).toEqual({ from: 0, to: 280 })
    expect(await verify()).toMatchObject({ ok: true, size: 280 })
    expect(await bringCosigned(cosigned(300, second, first))).toEqual({ from: 280, to: 300 })
    expect(await verify()).toMatchObject({ ok: true, size: 300 })
  })

  it('takes no other, and changes nothing', async () => {
    await expect(bringCosigned()).rejects.toThrow('no checkpoint that its witnesses have cosigned')
    await expect(bringCosigned(cosigned(280, first))).rejects.toThrow('not enough have cosigned')
    await expect(bringCosigned(cosigned(280, first, testWitness('witness.example/w2')))).rejects.toThrow('not enough have cosigned')
    expect(files()).toEqual([])
  })

  it('waits where the folder is further than the witnesses', async () => {
    await bring(served(log))
    await expect(bringCosigned(cosigned(280, first, second))).rejects.toThrow('The witnesses have cosigned 280 entries, and the folder has 300.')
    expect(await verify()).toMatchObject({ ok: false, findings: [{ code: 'quorum-missing' }] })
  })

  it('is what a policy of witnesses is put to: an export has no cosignatures', async () => {
    writeFileSync(join(folder, 'log.ndjson'), log.exported())
    await expect(verifyLog({ log: join(folder, 'log.ndjson'), vkey: tileLogKey.vkey, policy })).rejects.toThrow('an export holds no cosignatures')
  })
})
