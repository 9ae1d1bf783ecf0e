import { generateKeyPairSync } from 'node:crypto'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { createServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { connect, type TLSSocket } from 'node:tls'
import { afterEach, expect, it } from 'vitest'
import { makeCertificate } from '../card-personalization/testing/certificates.ts'
import { loadTlsIdentity, type TlsIdentity } from './tls-identity.ts'
import { tlsRenewal } from './tls-renewal.ts'

const DAY_MS = 86_400_000
const ends: (() => unknown)[] = []
afterEach(async () => {
  for (const end of ends.splice(0).toReversed()) await end()
})

/** A listener's certificate of 90 days in a folder of its own, and a clock. */
function site() {
  const folder = mkdtempSync(join(tmpdir(), 'gridseal-tls-'))
  ends.push(() => rmSync(folder, { recursive: true }))
  const { privateKey: signer } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const clock = { nowMs: Date.now(), isBroken: false }
  const load = (): Promise<TlsIdentity> =>
    loadTlsIdentity({
      ...{ folder, names: [], nowMs: clock.nowMs },
      issue: ({ spki }) =>
        clock.isBroken
          ? Promise.reject(new Error('the token is away'))
          : Promise.resolve(makeCertificate({ subject: [['CN', 'listener']], publicKey: spki, signer, notAfter: new Date(clock.nowMs + 90 * DAY_MS) }).pem),
    })
  return { clock, load }
}

it('a listener that runs for months shows a certificate that has not ended, and goes on asking for its callers’', async () => {
  const { clock, load } = site()
  const current = await load()
  const seen: boolean[] = []
  const server = createServer({ ...current, requestCert: true, rejectUnauthorized: false }, (request, response) => {
    seen.push((request.socket as TLSSocket).getPeerX509Certificate() !== undefined)
    response.end('yes')
  })
  ends.push(() => {
    server.closeAllConnections()
    server.close()
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const renewal = tlsRenewal({
    current,
    load,
    use: (identity) => server.setSecureContext(identity),
    onFailure: (error) => expect.unreachable(String(error)),
    everyMs: 5,
  })
  ends.push(() => renewal.stop())
  renewal.start()
  const open = async (): Promise<{ socket: TLSSocket; shown: string | undefined }> => {
    const socket = connect({ port: (server.address() as AddressInfo).port, host: '127.0.0.1', rejectUnauthorized: false, ...current })
    ends.push(() => socket.destroy())
    await once(socket, 'secureConnect')
    return { socket, shown: socket.getPeerX509Certificate()?.fingerprint256 }
  }

  const first = await open()
  clock.nowMs += 59 * DAY_MS
  await new Promise((resolve) => setTimeout(resolve, 50))
  expect((await open()).shown).toBe(first.shown)
  clock.nowMs += 2 * DAY_MS
  await expect.poll(async () => (await open()).shown).not.toBe(first.shown)
  const late = await open()
  for (const { socket } of [first, late]) {
    socket.write('GET / HTTP/1.1\r\nHost: x\r\n\r\n')
    expect(String((await once(socket, 'data'))[0])).toContain('200 OK')
  }
  expect(seen).toEqual([true, true])
})

it('what fails is told and tried again; nothing is shown twice', async () => {
  const { clock, load } = site()
  const current = await load()
  const [used, told]: [string[], unknown[]] = [[], []]
  const renewal = tlsRenewal({ current, load, use: ({ cert }) => used.push(cert), onFailure: (error) => told.push(error), everyMs: 5, againMs: 5 })
  ends.push(() => renewal.stop())
  clock.isBroken = true
  clock.nowMs += 61 * DAY_MS
  renewal.start()
  await expect.poll(() => told.length).toBeGreaterThan(2)
  expect(used).toEqual([])
  clock.isBroken = false
  await expect.poll(() => used.length).toBe(1)
  await new Promise((resolve) => setTimeout(resolve, 50))
  expect(used).toHaveLength(1)
})
