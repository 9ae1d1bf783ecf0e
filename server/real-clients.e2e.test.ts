import { execFile, execFileSync, spawnSync } from 'node:child_process'
import { X509Certificate } from 'node:crypto'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { makePkcs12 } from '../clients/pkcs12.ts'
import type { Participant } from '../clients/site.ts'
import { ecdsaSignature } from '../core/der.ts'
import { canRun } from '../core/testing/tools.ts'
import { findSoftHsm } from '../pkcs11/token-folder.ts'
import { EdgeSite } from './testing/edge-site.ts'

const PASSWORD = 'correct horse battery'

let site: EdgeSite
let folder: string
let address: string
beforeAll(async () => {
  site = await EdgeSite.open()
  folder = join(site.crash.folder, 'files')
  mkdirSync(folder)
  address = new URL(site.service.url).host
  for (const { name, certificate, key } of [site.alice, site.module, site.vendor]) {
    write(`${name}.pem`, certificate)
    write(`${name}.key.pem`, key)
  }
  write('root.pem', site.crash.trust)
  for (const name of ['root', 'callers']) write(`${name}-listed.pem`, await (await fetch(`${site.service.plainUrl}/ca/${name}.pem`)).text())
})
afterAll(() => site.close())

const file = (name: string): string => join(folder, name)
const write = (name: string, content: string | Uint8Array): string => {
  writeFileSync(file(name), content)
  return file(name)
}
/** Runs a program to its end. Throws with what it said when it fails, and when it is not installed. */
const run = (program: string, args: readonly string[], input = ''): string =>
  execFileSync(program, args, { input, encoding: 'utf8', timeout: 30_000, stdio: 'pipe' })

describe('curl', () => {
  const curl = ({ name }: Pick<Participant, 'name'>, path: string, ...more: string[]): { status: number; type: string; body: Record<string, unknown> } => {
    const said = run('curl', [
      '--silent',
      '--show-error',
      '--cert',
      file(`${name}.pem`),
      '--key',
      file(`${name}.key.pem`),
      '--cacert',
      file('root.pem'),
      '--write-out',
      '\n%{http_code} %{content_type}',
      ...more,
      `${site.service.url}${path}`,
    ])
    const [, body = '', status, type = ''] = /^([\s\S]*)\n(\d{3}) (.*)$/.exec(said) ?? []
    return { status: Number(status), type, body: JSON.parse(body) as Record<string, unknown> }
  }
  const json = (value: unknown): string[] => ['--header', 'content-type: application/json', '--data-binary', JSON.stringify(value)]

  it('makes a key, signs and verifies; openssl verifies the same with the public key that the API tells', () => {
    const made = curl(site.module, '/v1/kms/keys', ...json({ label: 'curl', algorithm: 'ec-p256' }))
    expect(made).toMatchObject({ status: 201, type: 'application/json; charset=utf-8' })
    const keyId = String(made.body['keyId'])
    const message = Buffer.from('meter 7: 12.345 kWh')
    const { body: signed } = curl(site.module, `/v1/kms/keys/${keyId}/sign`, ...json({ items: [{ message: message.toString('base64') }] }))
    const [{ signature } = { signature: '' }] = signed['signatures'] as { signature: string }[]
    const verified = curl(site.module, `/v1/kms/keys/${keyId}/verify`, ...json({ items: [{ message: message.toString('base64'), signature }] }))
    expect(verified.body).toMatchObject({ results: [{ valid: true }] })

    const told = curl(site.module, `/v1/kms/keys/${keyId}`).body
    const args = [
      'dgst',
      '-sha256',
      '-verify',
      write('public.pem', String(told['publicKey'])),
      '-signature',
      write('signature.der', ecdsaSignature(Buffer.from(signature, 'base64'))),
    ]
    expect(run('openssl', [...args, write('message', message)])).toBe('Verified OK\n')
    const forged = spawnSync('openssl', [...args, write('forged', 'meter 7: 00.001 kWh')], { encoding: 'utf8' })
    expect({ status: forged.status, said: forged.stdout }).toEqual({ status: 1, said: 'Verification failure\n' })
  })

  it('sends an order as a text file, a large one after 100-continue, and gets every fault by its line', () => {
    const text = readFileSync(new URL('../examples/grid-usim-10-rows.inp', import.meta.url), 'utf8')
    const order = (content: string): ReturnType<typeof curl> =>
      curl(site.vendor, '/v1/card-personalization/orders', '--header', 'content-type: text/plain', '--data-binary', `@${write('order.inp', content)}`)
    expect(order(text)).toMatchObject({ status: 201, body: { state: 'validated', quantity: 10 } })
    const lines = text.split('\n')
    const line = lines.findIndex((one) => one.startsWith('89860099000000020027')) + 1
    lines[line - 1] = '89860099000000020028 460009900009002'
    const wrong = order(lines.join('\n').replace('PO-2026-0010', 'PO-2026-0011'))
    expect(wrong).toMatchObject({ status: 422, type: 'application/problem+json' })
    expect(wrong.body['faults']).toContainEqual({ message: 'the check digit is 8, by Luhn it must be 7', line, column: 1 })
    expect(order(`${'* a comment\n'.repeat(200_000)}${text}`)).toMatchObject({ status: 422 })
  })

  it('takes the PKCS#12 file, too', () => {
    const p12 = write(
      'alice.p12',
      makePkcs12({
        privateKey: site.alice.key,
        certificate: site.alice.certificate,
        chain: readFileSync(file('callers-listed.pem'), 'utf8'),
        password: PASSWORD,
        friendlyName: 'alice',
      }),
    )
    const said = run('curl', [
      '--silent',
      '--show-error',
      '--cert-type',
      'P12',
      '--cert',
      `${p12}:${PASSWORD}`,
      '--cacert',
      file('root.pem'),
      `${site.service.url}/v1/kms/authorities/root`,
    ])
    expect(JSON.parse(said)).toMatchObject({ authority: 'root', state: 'issued' })
  })

  it('does not talk to a service that it cannot trust', () => {
    const said = spawnSync('curl', ['--silent', '--show-error', `${site.service.url}/openapi.json`], { encoding: 'utf8' })
    expect({ status: said.status, said: said.stderr }).toEqual({ status: 60, said: expect.stringMatching(/certificate/) as string })
  })
})

describe('openssl', () => {
  const client = (args: readonly string[], input = 'Q\n'): string => {
    const { stdout, stderr } = spawnSync('openssl', ['s_client', '-connect', address, '-CAfile', file('root.pem'), '-verify_return_error', ...args], {
      input,
      encoding: 'utf8',
      timeout: 10_000,
    })
    return stdout + stderr
  }

  it.each([
    ['-tls1_2', 'TLSv1.2', 'ECDHE-ECDSA-AES128-GCM-SHA256'],
    ['-tls1_3', 'TLSv1.3', 'TLS_AES_128_GCM_SHA256'],
  ])('%s: forward secret, the server’s chain and name verified, and no other CA asked for than the callers’ and its root', (version, name, cipher) => {
    const said = client([version, '-verify_hostname', 'localhost', '-cert', file('alice.pem'), '-key', file('alice.key.pem')])
    expect(said).toContain(`New, ${name}, Cipher is ${cipher}`)
    expect(said).toContain('Verification: OK')
    expect(said).toMatch(/Server Temp Key: (X25519|ECDH)/)
    expect(said).toContain('Compression: NONE')
    expect(/Acceptable client certificate CA names\n((?:.+ = .+\n)+)/.exec(said)?.[1]).toBe(
      'O = Gridseal, CN = Gridseal callers CA\nO = Gridseal, CN = Gridseal root CA\n',
    )
  })

  it.each([
    ['TLS 1.1', ['-tls1_1', '-cipher', 'ALL:@SECLEVEL=0']],
    ['TLS 1.0', ['-tls1', '-cipher', 'ALL:@SECLEVEL=0']],
    ['ciphers without forward secrecy', ['-tls1_2', '-cipher', 'AES128-GCM-SHA256:AES256-SHA:AES128-SHA']],
    ['CBC', ['-tls1_2', '-cipher', 'ECDHE-ECDSA-AES128-SHA:ECDHE-ECDSA-AES256-SHA384:ECDHE-ECDSA-AES128-SHA256']],
    ['no encryption and no identity', ['-tls1_2', '-cipher', 'eNULL:aNULL:@SECLEVEL=0']],
    ['CCM with short tags', ['-tls1_3', '-ciphersuites', 'TLS_AES_128_CCM_8_SHA256']],
  ])('is refused %s', (_claim, args) => {
    expect(client(args)).toMatch(/alert (protocol version|handshake failure)|no protocols available|no cipher match/)
    expect(client(args)).toContain('Cipher is (NONE)')
  })

  it.each(['-tls1_2', '-tls1_3'])('%s: never resumes', (version) => {
    const said = client([version, '-reconnect', '-cert', file('alice.pem'), '-key', file('alice.key.pem')])
    expect(said.match(/^New, /gm)?.length).toBeGreaterThanOrEqual(6)
    expect(said).not.toMatch(/^Reused, /m)
  })

  it('does not renegotiate: who is on a connection stays who it was', async () => {
    const said = await new Promise<string>((resolve) => {
      const child = execFile(
        'openssl',
        ['s_client', '-connect', address, '-tls1_2', '-CAfile', file('root.pem')],
        { timeout: 10_000 },
        (_error, stdout, stderr) => resolve(stdout + stderr),
      )
      child.stdout?.on('data', (text: string) => text.includes('Verify return code') && child.stdin?.write('R\n'))
      child.stderr?.on(
        'data',
        (text: string) =>
          text.includes('RENEGOTIATING') && setTimeout(() => child.stdin?.end('GET /openapi.json HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n'), 300),
      )
    })
    expect(said).toContain('RENEGOTIATING')
    expect(said).toMatch(/no renegotiation/)
    expect(said).not.toContain('HTTP/1.1 200')
  })

  it('verifies the chains that are published, strictly: an officer’s as a client, the listener’s as a server, and neither as the other', () => {
    const listed = ['-CAfile', file('root-listed.pem')]
    expect(run('openssl', ['verify', '-x509_strict', ...listed, file('callers-listed.pem')])).toMatch(/: OK\n$/)
    const officer = ['verify', '-x509_strict', ...listed, '-untrusted', file('callers-listed.pem')]
    expect(run('openssl', [...officer, '-purpose', 'sslclient', file('alice.pem')])).toMatch(/: OK\n$/)
    expect(spawnSync('openssl', [...officer, '-purpose', 'sslserver', file('alice.pem')], { encoding: 'utf8' }).stderr).toMatch(
      /unsuitable certificate purpose|unsupported certificate purpose/,
    )
    const server = ['verify', '-x509_strict', ...listed]
    const own = join(site.crash.data, 'tls/certificate.pem')
    expect(run('openssl', [...server, '-purpose', 'sslserver', '-verify_ip', '127.0.0.1', own])).toMatch(/: OK\n$/)
    expect(spawnSync('openssl', [...server, '-purpose', 'sslclient', own], { encoding: 'utf8' }).status).not.toBe(0)
    const other = write(
      'other-root.pem',
      run('openssl', [
        'req',
        '-x509',
        '-newkey',
        'ec',
        '-pkeyopt',
        'ec_paramgen_curve:P-256',
        '-nodes',
        '-keyout',
        file('other.key'),
        '-subj',
        '/O=Gridseal/CN=Gridseal root CA',
      ]),
    )
    expect(spawnSync('openssl', ['verify', '-CAfile', other, '-untrusted', file('callers-listed.pem'), file('alice.pem')]).status).not.toBe(0)
    expect(new X509Certificate(site.alice.certificate).subject).toBe('O=Gridseal\nOU=callers\nCN=officer:alice')
  })
})

describe('the PKCS#12 file', () => {
  it.runIf(canRun('certutil', 'pk12util'))('opens in openssl, and in the NSS database that browsers use, key and chain', () => {
    const p12 = write(
      'alice.p12',
      makePkcs12({
        privateKey: site.alice.key,
        certificate: site.alice.certificate,
        chain: readFileSync(file('callers-listed.pem'), 'utf8'),
        password: PASSWORD,
        friendlyName: 'alice',
      }),
    )
    const opened = run('openssl', ['pkcs12', '-in', p12, '-passin', `pass:${PASSWORD}`, '-nodes'])
    expect([...opened.matchAll(/-----BEGIN ([A-Z ]+)-----/g)].map((match) => match[1])).toEqual(['CERTIFICATE', 'CERTIFICATE', 'CERTIFICATE', 'PRIVATE KEY'])
    const nss = `sql:${mkdirp('nss')}`
    run('certutil', ['-N', '--empty-password', '-d', nss])
    run('pk12util', ['-i', p12, '-W', PASSWORD, '-d', nss])
    expect(run('certutil', ['-K', '-d', nss])).toMatch(/< 0> ec +[0-9a-f]{40} +alice/)
    run('certutil', ['-M', '-n', 'Gridseal root CA - Gridseal', '-t', 'CT,,', '-d', nss])
    expect(run('certutil', ['-V', '-n', 'alice', '-u', 'C', '-d', nss])).toContain('certificate is valid')
  })

  it.runIf(canRun('chromium', 'certutil', 'unshare'))('lets Chromium in', async () => {
    const home = mkdirp('chromium-home')
    const nss = `sql:${mkdirp('chromium-home/.pki/nssdb')}`
    const p12 = write(
      'browser.p12',
      makePkcs12({
        privateKey: site.alice.key,
        certificate: site.alice.certificate,
        chain: readFileSync(file('callers-listed.pem'), 'utf8'),
        password: PASSWORD,
        friendlyName: 'alice',
      }),
    )
    run('certutil', ['-N', '--empty-password', '-d', nss])
    run('pk12util', ['-i', p12, '-W', PASSWORD, '-d', nss])
    run('certutil', ['-A', '-n', 'root', '-t', 'C,,', '-i', file('root.pem'), '-d', nss])
    const page = `${site.service.url}/v1/kms/authorities/root`
    mkdirp('etc-chromium/policies/managed')
    const choose = JSON.stringify({ pattern: site.service.url, filter: {} })
    write('etc-chromium/policies/managed/gridseal.json', JSON.stringify({ AutoSelectCertificateForUrls: [choose] }))
    const seen = await browse(home, page)
    expect(seen).toContain('"authority":"root"')
    expect(seen).not.toContain('/problems/')
  })

  /** What the page says, once loaded. The browser's policy lies where only this browser sees it. */
  const browse = (home: string, url: string): Promise<string> =>
    new Promise((resolve, reject) => {
      const chromium = `mount --bind ${file('etc-chromium')} /etc/chromium && exec chromium --headless --no-sandbox --disable-gpu --disable-dev-shm-usage --user-data-dir=${home}/profile --dump-dom "${url}"`
      const [program, ...args] = ['unshare', '--map-root-user', '--mount', 'sh', '-c', chromium] as const
      execFile(program, args, { env: { PATH: process.env['PATH'], HOME: home }, timeout: 40_000, killSignal: 'SIGKILL' }, (error, stdout, stderr) => {
        if (error === null) resolve(stdout)
        else reject(new Error(`${error.message}\n${stderr}`))
      })
    })
})

const mkdirp = (name: string): string => {
  mkdirSync(file(name), { recursive: true })
  return file(name)
}

describe.runIf(canRun('pkcs11-tool'))('pkcs11-tool', () => {
  it('sees no secret and no private key in the token without its PIN', () => {
    const env = { ...process.env, SOFTHSM2_CONF: join(site.crash.data, 'token/softhsm2.conf') }
    const list = (...args: string[]): string =>
      execFileSync('pkcs11-tool', ['--module', findSoftHsm(), '--token-label', 'gridseal', '--list-objects', ...args], {
        env: { ...env, TOKEN_PIN: readFileSync(join(site.crash.data, 'pins/user.pin'), 'utf8').trim() },
        encoding: 'utf8',
        stdio: 'pipe',
      })
    const open = list()
    expect(open).toMatch(/Public Key Object; EC/)
    expect(open).not.toMatch(/Secret Key|Private Key|Data object/)
    const within = list('--login', '--pin', 'env:TOKEN_PIN')
    expect(within.match(/(Secret|Private) Key Object/g)?.length).toBeGreaterThan(10)
    for (const [, kind, rest = ''] of within.matchAll(/(Secret|Private) Key Object([\s\S]*?)(?=\n\w|$)/g))
      expect(`${String(kind)} ${rest}`).toMatch(/Access: +sensitive, always sensitive/)
  })
})
