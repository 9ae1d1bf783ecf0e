import { execFile } from 'node:child_process'
import { createServer, type Server } from 'node:http'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { mirror } from '../../clients/audit-mirror.ts'
import { folderSource } from '../../clients/audit-source.ts'
import { verifyLog } from '../../clients/audit-verify.ts'
import { testDatabase, type TestDatabase } from '../../server/postgres/test-database.ts'
import { perform } from '../gate.ts'
import type { Download } from '../operation.ts'
import { memoryGate } from '../testing/memory-gate.ts'
import { openCheckpoint } from './checkpoint.ts'
import { checkConsistency, proofFromTiles } from './consistency.ts'
import { decodeBundle } from './group.ts'
import { auditFeature, type AuditFeature } from './index.ts'
import { leafHash } from './merkle.ts'
import { draftOf } from './testing/drafts.ts'
import { softKeys } from './testing/soft-keys.ts'
import { publicTiles } from './public-tiles.ts'
import { parseTilePath, tilesOf } from './tile-path.ts'
import type { TileSource } from './tile-source.ts'

let db: TestDatabase
let audit: AuditFeature
let folder: string
const gate = memoryGate()

beforeAll(async () => {
  db = await testDatabase()
  folder = mkdtempSync(join(tmpdir(), 'gridseal-tiles-'))
  audit = auditFeature({
    sql: db.sql,
    connect: db.database.connect,
    integrity: softKeys(),
    origin: 'grid.example/audit',
    checkpointFile: join(folder, 'checkpoint'),
  })
})
afterAll(async () => {
  await audit.close()
  await db.close()
  rmSync(folder, { recursive: true })
})

const grow = async (count: number): Promise<void> => {
  await Promise.all(Array.from({ length: count }, () => audit.log.append(draftOf('event'))))
  await audit.flush()
  // What is held of the checkpoint before.
  await new Promise((resolve) => setTimeout(resolve, 300))
}

async function bundles(body: object): Promise<Uint8Array> {
  const op = audit.operations.find(({ name }) => name === 'policies.audit.bundle')
  if (op === undefined) throw new Error('no such operation')
  const download = (await perform(gate, op, { caller: { kind: 'auditor', name: 'wang', id: 'a1' }, body })) as Download
  const chunks: Uint8Array[] = []
  for await (const chunk of download.chunks) chunks.push(chunk)
  return Buffer.concat(chunks)
}

const tree: TileSource = {
  read: async (path) => {
    const tile = parseTilePath(path)
    return tile && audit.publicTiles.tile(tile)
  },
}
const noteNow = async (): Promise<string> => (await audit.publicTiles.checkpoint()) ?? ''
const sizeOf = (note: string): number => openCheckpoint(note, audit.key).size
const mirrorNow = () =>
  mirror({
    folder: join(folder, 'mirror'),
    keys: [audit.key.vkey],
    log: { checkpoint: async () => ({ note: await noteNow() }), bundles: (index, count, width) => bundles({ index, count, width }) },
  })

describe('the log in tiles', () => {
  it('is nothing before the first checkpoint', async () => {
    expect(await audit.publicTiles.checkpoint()).toBeUndefined()
    expect(await audit.publicTiles.tile({ level: 0, index: 0, width: 1 })).toBeUndefined()
    await expect(bundles({ index: 0, width: 1 })).rejects.toMatchObject({ code: 'not-found' })
  })

  it('proves each checkpoint to extend the one before, by what anybody may have', async () => {
    let older: string | undefined
    for (const count of [1, 6, 249, 1, 255, 200]) {
      await grow(count)
      const newer = await noteNow()
      if (older !== undefined) {
        const proof = await proofFromTiles(tree, sizeOf(older), sizeOf(newer))
        expect(checkConsistency({ older, newer }, [audit.key], proof ?? [])).toMatchObject({ ok: true, from: sizeOf(older), to: sizeOf(newer) })
      }
      older = newer
    }
    expect(sizeOf(await noteNow())).toBe(712)
  })

  it('gives every tile that is covered, at any width, and none that is not', async () => {
    const tiles = [...tilesOf(712)]
    expect(tiles.map(({ level, index, width }) => `${level}/${index}/${width}`)).toEqual(['0/0/256', '0/1/256', '0/2/200', '1/0/2'])
    for (const tile of tiles) {
      const whole = (await audit.publicTiles.tile(tile)) ?? new Uint8Array()
      expect(whole).toHaveLength(32 * tile.width)
      for (const width of [1, Math.ceil(tile.width / 2), tile.width])
        expect(await audit.publicTiles.tile({ ...tile, width })).toEqual(whole.subarray(0, 32 * width))
      if (tile.width < 256) expect(await audit.publicTiles.tile({ ...tile, width: tile.width + 1 })).toBeUndefined()
    }
    for (const [level, index] of [
      [0, 3],
      [1, 1],
      [2, 0],
      [63, 0],
      [0, Number.MAX_SAFE_INTEGER],
    ] as const)
      expect(await audit.publicTiles.tile({ level, index, width: 1 })).toBeUndefined()
    expect(await audit.publicTiles.tile({ level: 'entries', index: 0, width: 1 })).toBeUndefined()
  })

  it('has bundles for auditors, one or many, whose entries hash to the tiles; each reading is an entry', async () => {
    const leaves = async (index: number, width: number) => await audit.publicTiles.tile({ level: 0, index, width })
    const hashes = (bytes: Uint8Array) => Buffer.concat(decodeBundle(bytes).map(leafHash))
    expect(hashes(await bundles({ index: 1 }))).toEqual(await leaves(1, 256))
    expect(hashes(await bundles({ index: '2', width: '200' }))).toEqual(await leaves(2, 200))
    expect(hashes(await bundles({ index: 0, width: 3 }))).toEqual(await leaves(0, 3))
    expect(decodeBundle(await bundles({ index: 0, count: 3, width: 200 }))).toHaveLength(712)
    expect(gate.log.entries.at(-1)).toMatchObject({ operation: 'policies.audit.bundle', code: 'ok', facts: { public: { index: 0, count: 3, width: 200 } } })
    await expect(bundles({ index: 2 })).rejects.toMatchObject({ code: 'not-found' })
    await expect(bundles({ index: 0, count: 3 })).rejects.toMatchObject({ code: 'not-found' })
    for (const body of [{}, { index: -1 }, { index: 0.5 }, { index: 0, width: 0 }, { index: 0, width: 257 }, { index: 0, count: 257 }, { index: 2 ** 46 }])
      await expect(bundles(body)).rejects.toMatchObject({ code: 'request-invalid' })
  })

  it('is mirrored, again and again, and verified from the mirror and from a plain web server over it', async () => {
    expect(await mirrorNow()).toEqual({ from: 0, to: 712 })
    const first = await noteNow()
    await grow(600)
    const size = sizeOf(await noteNow())
    expect(await mirrorNow()).toEqual({ from: 712, to: size })
    const settings = { vkey: audit.key.vkey, known: [first], threads: 1 }
    expect(await verifyLog({ ...settings, log: join(folder, 'mirror') })).toMatchObject({ ok: true, size, findings: [] })
    const server = await staticServer(join(folder, 'mirror'))
    try {
      expect(await verifyLog({ ...settings, log: `http://127.0.0.1:${(server.address() as AddressInfo).port}/` })).toMatchObject({
        ok: true,
        size,
        findings: [],
      })
    } finally {
      server.close()
    }
  })

  it('is verified by the program: whole, and one checkpoint against another', async () => {
    const write = (name: string, text: string): string => {
      writeFileSync(join(folder, name), text)
      return join(folder, name)
    }
    const run = (...args: string[]) =>
      promisify(execFile)(process.execPath, ['--import', 'tsx', 'server/cli/gridseal.ts', 'audit', ...args, '--key', write('key', audit.key.vkey)])
    const [log, older] = [join(folder, 'mirror'), write('older', await noteNow())]
    await grow(300)
    expect((await run('verify', log, '--known', older)).stdout).toMatch(/^VERIFIED: grid\.example\/audit, 1312 entries/)
    await mirrorNow()
    const newer = join(log, 'checkpoint')
    expect((await run('verify-consistency', older, newer, '--tiles', log)).stdout).toBe(
      'CONSISTENT: grid.example/audit, the log of 1612 entries begins with the 1312 of the older checkpoint\n',
    )
    await expect(run('verify-consistency', newer, older, '--tiles', log)).rejects.toMatchObject({
      code: 1,
      stdout: expect.stringMatching(/^NOT CONSISTENT/) as string,
    })
    const wrong = write('proof', `${Buffer.alloc(32).toString('base64')}\n`)
    await expect(run('verify-consistency', older, newer, '--proof', wrong)).rejects.toMatchObject({
      code: 1,
      stdout: expect.stringMatching(/does not lead/) as string,
    })
    writeFileSync(join(log, 'tile/0/000'), new Uint8Array(8192))
    await expect(run('verify', log)).rejects.toMatchObject({ code: 1, stdout: expect.stringMatching(/^NOT VERIFIED[^]*tile-mismatch/) as string })
  }, 60_000)

  it('is not available where the database has lost a tile', async () => {
    await db.ownerSql.query('ALTER TABLE audit_tiles DISABLE TRIGGER USER')
    await db.ownerSql.query('DELETE FROM audit_tiles WHERE level = 0 AND index = 1')
    await expect(audit.publicTiles.tile({ level: 0, index: 1, width: 256 })).rejects.toMatchObject({ code: 'integrity-failed' })
  })
})

async function staticServer(root: string): Promise<Server> {
  const server = createServer((request, response) => {
    void folderSource(root)
      .read((request.url ?? '').slice(1))
      .then((bytes) => response.writeHead(bytes === undefined ? 404 : 200).end(bytes))
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return server
}

describe('whoever asks for the checkpoint again and again', () => {
  it('has it made once in a while', async () => {
    await grow(1)
    let [read, made] = [0, 0]
    const reader = { ...audit.reader, lastCheckpoint: () => ((read += 1), audit.reader.lastCheckpoint()) }
    const tiles = publicTiles({ reader, key: audit.key, replaced: [] }, ({ note }) => ((made += 1), Promise.resolve(note)))
    const notes = await Promise.all(Array.from({ length: 100 }, () => tiles.checkpoint()))
    expect(new Set(notes).size).toBe(1)
    expect([read, made]).toEqual([1, 1])
    await new Promise((resolve) => setTimeout(resolve, 300))
    await tiles.checkpoint()
    expect([read, made]).toEqual([2, 2])
  })
})
