import { once } from 'node:events'
import type { Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterEach, describe, expect, test } from 'vitest'
import { sha256 } from '../core/bytes.ts'
import { Metrics } from './metrics.ts'
import { createPlainListener } from './plain-listener.ts'

let server: Server | undefined
afterEach(() => {
  server?.closeAllConnections()
  server?.close()
})

const der = Buffer.from('3003020101', 'hex')
async function start(leftMs: number): Promise<string> {
  const crl = { der, digest: sha256(der), thisUpdate: new Date('2026-11-23T10:00:00Z'), nextUpdate: new Date(Date.now() + leftMs) }
  server = createPlainListener({
    metrics: new Metrics(),
    authority: () => Promise.resolve(undefined),
    crl: (name) => Promise.resolve(name === 'cards' ? crl : undefined),
    health: { states: {}, isReady: true },
    logKey: 'key',
    keySet: {},
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
