import { describe, expect, it } from 'vitest'
import { concat, utf8 } from '../../core/bytes.ts'
import { checkConsistency, proofFromTiles } from './consistency.ts'
import { tileLog, tileLogKey, type TileLog, usualEntries } from './testing/tile-log.ts'
import { type FindingCode, type LogReport, LogVerifier } from './verify.ts'
import { verifyExport } from './verify-export.ts'
import { verifyTiles } from './verify-tiles.ts'

const entries = usualEntries(65_800)
const verify = (log: TileLog): Promise<LogReport> => verifyTiles(new LogVerifier(tileLogKey), log)
const codesOf = ({ findings }: LogReport): FindingCode[] => [...new Set(findings.map(({ code }) => code))]

/** A small log, with one of its files another. */
const small = tileLog(entries.slice(0, 600))
async function changed(path: string, change: (bytes: Uint8Array) => Uint8Array | undefined): Promise<LogReport> {
  const files = new Map(small.files)
  const before = files.get(path)
  if (before === undefined) throw new Error(`no ${path}`)
  const after = change(Uint8Array.from(before))
  if (after === undefined) files.delete(path)
  else files.set(path, after)
  return verifyTiles(new LogVerifier(tileLogKey), { read: (name) => Promise.resolve(files.get(name)) })
}
const flip =
  (at: number) =>
  (bytes: Uint8Array): Uint8Array => {
    bytes[at] = (bytes[at] ?? 0) ^ 1
    return bytes
  }

describe('a whole log from its tiles', () => {
  it.each([0, 1, 2, 255, 256, 257, 512, 600, 65_537])('verifies with %d entries', async (size) => {
    const log = tileLog(entries.slice(0, size))
    expect(await verify(log)).toMatchObject({ ok: true, size, checkpoints: 1, findings: [], entries: { outcome: size } })
  })

  it('takes full tiles in the place of partial ones', async () => {
    const [older, newer] = [tileLog(entries.slice(0, 300)), tileLog(entries.slice(0, 512))]
    const read = (path: string): Promise<Uint8Array | undefined> => Promise.resolve(path === 'checkpoint' ? utf8(older.note) : newer.files.get(path))
    expect(await verifyTiles(new LogVerifier(tileLogKey), { read: (path) => (path === 'tile/1/000.p/1' ? older.read(path) : read(path)) })).toMatchObject({
      ok: true,
      size: 300,
    })
  })

  it.each<[string, string, (bytes: Uint8Array) => Uint8Array | undefined, FindingCode[]]>([
    ['a bundle is gone', 'tile/entries/001', () => undefined, ['resource-missing', 'uncovered']],
    ['the last bundle is gone', 'tile/entries/002.p/88', () => undefined, ['resource-missing', 'uncovered']],
    ['a tile is gone', 'tile/0/001', () => undefined, ['resource-missing']],
    ['a partial tile is gone', 'tile/0/002.p/88', () => undefined, ['resource-missing']],
    ['the tile above is gone', 'tile/1/000.p/2', () => undefined, ['resource-missing']],
    ['the checkpoint is gone', 'checkpoint', () => undefined, ['resource-missing', 'uncovered']],
    ['a hash is another', 'tile/0/001', flip(100), ['tile-mismatch']],
    ['a hash of the last tile is another', 'tile/0/002.p/88', flip(88 * 32 - 1), ['tile-mismatch']],
    ['a hash above is another', 'tile/1/000.p/2', flip(0), ['tile-mismatch']],
    ['a tile is short', 'tile/0/000', (bytes) => bytes.slice(0, -32), ['tile-mismatch']],
    ['a tile is long', 'tile/0/002.p/88', (bytes) => concat(bytes, new Uint8Array(32)), ['tile-mismatch']],
    ['a bundle is short', 'tile/entries/000', (bytes) => bytes.slice(0, -1), ['bundle-malformed', 'uncovered']],
    ['a bundle has an entry more', 'tile/entries/002.p/88', (bytes) => concat(bytes, Uint8Array.of(0, 0)), ['bundle-malformed', 'uncovered']],
    ['a bundle is empty', 'tile/entries/000', () => new Uint8Array(), ['bundle-malformed', 'uncovered']],
    ['an entry is another', 'tile/entries/000', flip(20), ['entry-malformed', 'sequence-gap', 'tile-mismatch', 'root-mismatch', 'uncovered']],
    ['a size is another', 'checkpoint', (bytes) => utf8(Buffer.from(bytes).toString().replace('\n600\n', '\n601\n')), ['checkpoint-invalid', 'uncovered']],
  ])('does not verify where %s', async (_what, path, change, codes) => {
    const report = await changed(path, change)
    expect(report.ok).toBe(false)
    expect(codesOf(report).toSorted()).toEqual(codes.toSorted())
  })

  it('does not verify in the place of one that was held before', async () => {
    const other = tileLog(usualEntries(300))
    const known = { origin: tileLogKey.name, size: 200, root: new Uint8Array(32) }
    expect(codesOf(await verifyTiles(new LogVerifier(tileLogKey, { known: [known] }), other))).toEqual(['root-mismatch'])
    expect(codesOf(await verifyTiles(new LogVerifier(tileLogKey, { known: [{ ...known, size: 301 }] }), other))).toEqual(['known-checkpoint-missing'])
  })

  it('says no more than there is to say when the source fails', async () => {
    const failing = { read: () => Promise.reject(new Error('the disk is away')) }
    await expect(verifyTiles(new LogVerifier(tileLogKey), failing)).rejects.toThrow('the disk is away')
  })
})

describe('an export', () => {
  it.each([1, 7, 1000, 100_000])('verifies in chunks of %d bytes', async (length) => {
    const bytes = Buffer.from(tileLog(entries.slice(0, length === 1 ? 3 : 3000)).exported())
    const chunks = Array.from({ length: Math.ceil(bytes.length / length) }, (_, at) => bytes.subarray(at * length, (at + 1) * length))
    expect(await verifyExport(new LogVerifier(tileLogKey), chunks)).toMatchObject({ ok: true, findings: [] })
  })

  it('that never ends a line is read in bounded pieces', async () => {
    const chunk = Buffer.alloc(1 << 20, 'x')
    let largest = 0
    const chunks = Array.from({ length: 20 }, () => chunk)
    const report = await verifyExport(new LogVerifier(tileLogKey), chunks, {
      digest: (piece) => {
        largest = Math.max(largest, piece.length)
        return { leaves: new Uint8Array(), kinds: new Uint8Array(), writers: new Float64Array(), notable: [], indexes: new Float64Array(), lines: [] }
      },
    })
    expect(report.ok).toBe(false)
    expect(largest).toBeLessThan(6 << 20)
  })
})

describe('consistency from tiles', () => {
  const log = tileLog(entries)
  const sizes = [1, 2, 3, 255, 256, 257, 600, 65_536, 65_537, 65_800]
  const pair = (from: number, to: number) => ({ older: log.noteAt(from), newer: log.noteAt(to) })

  it('holds between all sizes of one log', async () => {
    for (const from of sizes) {
      const proof = await proofFromTiles(log, from, 65_800)
      expect(checkConsistency(pair(from, 65_800), [tileLogKey], proof ?? [])).toMatchObject({ ok: true, from, to: 65_800 })
    }
  })

  it('does not hold with another history, sizes the other way round, the empty tree, or a tile that is gone', async () => {
    const proof = (await proofFromTiles(log, 600, 65_800)) ?? []
    const other = tileLog(usualEntries(600))
    expect(checkConsistency({ older: other.note, newer: log.note }, [tileLogKey], proof).ok).toBe(false)
    expect(checkConsistency(pair(65_800, 600), [tileLogKey], proof).ok).toBe(false)
    expect(checkConsistency(pair(0, 600), [tileLogKey], []).ok).toBe(false)
    expect(checkConsistency(pair(600, 65_800), [], proof).ok).toBe(false)
    expect(await proofFromTiles(log, 0, 600)).toBeUndefined()
    expect(await proofFromTiles({ read: (path) => Promise.resolve(path === 'tile/1/000' ? undefined : log.files.get(path)) }, 600, 65_800)).toBeUndefined()
    for (let at = 0; at < proof.length; at += 1) {
      expect(checkConsistency(pair(600, 65_800), [tileLogKey], proof.toSpliced(at, 1)).ok).toBe(false)
      expect(checkConsistency(pair(600, 65_800), [tileLogKey], proof.toSpliced(at, 0, new Uint8Array(32))).ok).toBe(false)
    }
  })
})
