import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import { createServer as createTlsServer } from 'node:https'
import type { AddressInfo, Server } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { makeEncryptionCertificate } from '../../clients/csr.ts'
import { writePkcs12 } from './caller.ts'
import { type ReachOptions, withClient } from './with-client.ts'

const folder = mkdtempSync(join(tmpdir(), 'gridseal-with-client-'))
const file = (name: string): string => join(folder, name)
const own = { trust: file('root.pem'), certificate: file('alice.pem'), key: file('alice.key.pem') }
const servers: Server[] = []

async function listening(server: Server): Promise<number> {
  servers.push(server)
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return (server.address() as AddressInfo).port
}

beforeAll(async () => {
  for (const name of ['root', 'alice', 'bob']) {
    const { certificate, privateKey } = await makeEncryptionCertificate(name)
    writeFileSync(file(`${name}.pem`), certificate)
    writeFileSync(file(`${name}.key.pem`), privateKey)
  }
  writeFileSync(file('no.pem'), '-----BEGIN CERTIFICATE REQUEST-----\n-----END CERTIFICATE REQUEST-----\n')
})
afterAll(() => {
  for (const server of servers) server.close()
  rmSync(folder, { recursive: true })
})

const refusal = (options: ReachOptions): Promise<string> =>
  withClient(options, (client) => client.get('/v1/policies/callers')).then(
    () => 'answered',
    (error: unknown) => (error instanceof Error && error.name === 'CliError' ? error.message : `no CliError: ${String(error)}`),
  )

describe('a command that cannot reach the service says what to look at', () => {
  it.each([
    ['the key of somebody else', { key: file('bob.key.pem') }, `${file('bob.key.pem')} is not the key of the certificate ${own.certificate}.`],
    ['a request in place of a certificate', { certificate: file('no.pem') }, `${file('no.pem')} is no certificate (PEM).`],
    ['a certificate in place of a key', { key: own.certificate }, `${own.certificate} is no private key (PEM).`],
    ['a key in place of the root', { trust: own.key }, `${own.key} is no certificate (PEM).`],
    ['a file that is not there', { trust: file('nope.pem') }, `${file('nope.pem')} cannot be read.`],
    ['no TLS', { url: 'http://127.0.0.1:8080' }, '--url is the TLS listener of the service, such as https://127.0.0.1:8443, not http://127.0.0.1:8080'],
    ['no URL', { url: 'localhost:8443' }, '--url is the TLS listener of the service, such as https://127.0.0.1:8443, not localhost:8443'],
  ])('%s', async (_what, wrong, says) => {
    expect(await refusal({ url: 'https://127.0.0.1:1', ...own, ...wrong })).toBe(says)
  })

  it('nobody listens', async () => {
    expect(await refusal({ url: 'https://127.0.0.1:1', ...own })).toBe(
      'https://127.0.0.1:1 does not answer: nothing listens there. Does the service run (gridseal serve), and is that its address (--url)?',
    )
  })

  it('the plain listener', async () => {
    const port = await listening(createServer())
    expect(await refusal({ url: `https://127.0.0.1:${port}`, ...own })).toContain('is it the plain listener’s port?')
  })

  it('another root', async () => {
    const { certificate, privateKey } = await makeEncryptionCertificate('other')
    const port = await listening(createTlsServer({ cert: certificate, key: privateKey }))
    expect(await refusal({ url: `https://127.0.0.1:${port}`, ...own })).toContain(`shows a certificate that ${own.trust} has not issued`)
  })
})

describe('a file for the browser', () => {
  it('is not made of a certificate and the key of another', () => {
    const wrong = { certificate: own.certificate, key: file('bob.key.pem'), passwordEnv: 'P12_PASSWORD', password: 'correct horse', out: file('alice.p12') }
    expect(() => writePkcs12(wrong)).toThrow('is not the key of the certificate')
    writePkcs12({ ...wrong, key: own.key })
  })
})
