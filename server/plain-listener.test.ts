import { once } from 'node:events'
import type { Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterEach, describe, expect, test } from 'vitest'
import { sha256 } from '../core/bytes.ts'
import type { PublicTiles } from '../policies/audit/index.ts'
import { Metrics } from './metrics.ts'
import { createPlainListener } from './plain-listener.ts'

let server: Server | undefined
afterEach(() => {
  server?.closeAllConnections()
  server?.close()
})

const tileZero = Buffer.alloc(8192, 7)
const log: PublicTiles = {
  checkpoint: () => Promise.resolve('the note\n'),
  tile: ({ level, index, width }) =>
    index === 9 ? Promise.reject(new Error('short')) : Promise.resolve(level === 0 && index === 0 ? tileZero.subarray(0, 32 * width) : undefined),
}

const der = Buffer.from('3003020101', 'hex')
async function start(leftMs: number): Promise<string> {
  const crl = { der, digest: sha256(der), thisUpdate: new Date('2026-11-23T10:00:00Z'), nextUpdate: new Date(Date.now() + leftMs) }
  server = createPlainListener({
    metrics: new Metrics(),
    authority: () => Promise.resolve(undefined),
    crl: (name) => Promise.resolve(name === 'cards' ? crl : undefined),
    health: { states: {}, isReady: true },
    alarms: () => [],
    logKey: 'key',
    keySet: {},
    log,
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return `http://127.0.0.1:${String((server.address() as AddressInfo).port)}`
}

describe('a CRL over plain HTTP', () => {
  test('comes as one DER CRL that caches may keep for a while', async () => {
    const answer = await fetch(`${await start(86_400_000)}/crl/cards.crl`)
    expect(Buffer.from(await answer.arrayBuffer())).toEqual(der)
    expect([answer.status, answer.headers.get('content-type'), answer.headers.get('cache-control'), answer.headers.get('last-modified')]).toEqual([
      ...[200, 'application/pkix-crl', 'max-age=300', 'Mon, 23 Nov 2026 10:00:00 GMT'],
    ])
    expect(answer.headers.get('content-length')).toBe('5')
  })

  test('is not sent again to who has it, nor to HEAD', async () => {
    const url = `${await start(86_400_000)}/crl/cards.crl`
    const etag = (await fetch(url)).headers.get('etag') ?? ''
    expect(etag).toBe(`"${Buffer.from(sha256(der)).toString('hex')}"`)
    const known = await fetch(url, { headers: { 'if-none-match': `"x", W/${etag}` } })
    expect([known.status, await known.text()]).toEqual([304, ''])
    const head = await fetch(url, { method: 'HEAD' })
    expect([head.status, head.headers.get('content-length'), await head.text()]).toEqual([200, '5', ''])
  })

  test('is not kept past its end', async () => {
    expect((await fetch(`${await start(20_900)}/crl/cards.crl`)).headers.get('cache-control')).toBe('max-age=20')
    server?.close()
    expect((await fetch(`${await start(-1000)}/crl/cards.crl`)).headers.get('cache-control')).toBe('max-age=0')
  })

  test.each(['/crl/nobody.crl', '/crl/cards', '/crl/Cards.crl', '/crl/../crl', '/crl/'])('%s is not there', async (path) => {
    expect((await fetch(`${await start(1000)}${path}`)).status).toBe(404)
  })
})

describe('the log over plain HTTP', () => {
  test('gives its checkpoint, fresh', async () => {
    const answer = await fetch(`${await start(1000)}/log/checkpoint`)
    expect([answer.status, answer.headers.get('content-type'), answer.headers.get('cache-control'), await answer.text()]).toEqual([
      ...[200, 'text/plain; charset=utf-8', 'public, max-age=1', 'the note\n'],
    ])
  })

  test.each([
    ['000', 256],
    ['000.p/1', 1],
    ['000.p/255', 255],
  ])('gives the tile %s for good', async (path, width) => {
    const url = `${await start(1000)}/log/tile/0/${path}`
    const answer = await fetch(url)
    expect(Buffer.from(await answer.arrayBuffer())).toEqual(tileZero.subarray(0, 32 * width))
    expect([answer.headers.get('content-type'), answer.headers.get('cache-control')]).toEqual([
      'application/octet-stream',
      'public, max-age=31536000, immutable',
    ])
    const known = await fetch(url, { headers: { 'if-none-match': answer.headers.get('etag') ?? '' } })
    expect([known.status, known.headers.get('cache-control')]).toEqual([304, 'public, max-age=31536000, immutable'])
    const head = await fetch(url, { method: 'HEAD' })
    expect([head.status, head.headers.get('content-length')]).toEqual([200, String(32 * width)])
  })

  test.each([
    '',
    'Checkpoint',
    'checkpoint/',
    'tile',
    'tile/0/0',
    'tile/0/001',
    'tile/00/000',
    'tile/64/000',
    'tile/0/000.p/256',
    'tile/0/000.p/01',
    'tile/0/x000/000',
    'tile/entries',
    'tile/0/000/',
  ])('%j is not there', async (path) => {
    expect((await fetch(`${await start(1000)}/log/${path}`)).status).toBe(404)
  })

  test('has nothing to say of a tile that the database has lost', async () => {
    const answer = await fetch(`${await start(1000)}/log/tile/0/009`)
    expect([answer.status, await answer.text()]).toEqual([503, 'not available\n'])
  })
})
