import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, test } from 'vitest'
import { makeEncryptionCertificate } from './csr.ts'
import { canRun } from '../core/testing/tools.ts'
import { makePkcs12 } from './pkcs12.ts'

const folder = mkdtempSync(join(tmpdir(), 'gridseal-pkcs12-'))
afterAll(() => rmSync(folder, { recursive: true }))

const PASSWORD = 'correct-horse 7'
const run = (program: string, ...args: string[]): string => execFileSync(program, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] })

/** A root and an officer's certificate under it, as openssl makes them. */
function pemPair() {
  const at = mkdtempSync(join(folder, 'pair-'))
  const made = (name: string): string => join(at, name)
  const ec = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-batch']
  run('openssl', 'req', '-x509', ...ec, '-subj', '/CN=root', '-keyout', made('root.key'), '-out', made('root.pem'))
  run('openssl', 'req', ...ec, '-subj', '/CN=officer:wang', '-keyout', made('own.key'), '-out', made('own.csr'))
  run('openssl', 'x509', '-req', '-in', made('own.csr'), '-CA', made('root.pem'), '-CAkey', made('root.key'), '-CAcreateserial', '-out', made('own.pem'))
  const [privateKey, certificate, chain] = ['own.key', 'own.pem', 'root.pem'].map((name) => readFileSync(made(name), 'utf8')) as [string, string, string]
  return { privateKey, certificate, chain }
}

describe.each([
  { encryption: 'aes-256', legacy: [], says: /PBES2, PBKDF2, AES-256-CBC, Iteration 60000, PRF hmacWithSHA256/ },
  { encryption: 'insecure3des', legacy: ['-legacy'], says: /pbeWithSHA1And3-KeyTripleDES-CBC, Iteration 60000/ },
] as const)('with $encryption', ({ encryption, legacy, says }) => {
  const pems = pemPair()
  const file = join(folder, `${encryption}.p12`)
  writeFileSync(file, makePkcs12({ ...pems, password: PASSWORD, friendlyName: 'Wang (officer)', encryption }))

  test('openssl opens it and finds the key, the certificate and the chain', () => {
    const text = run('openssl', 'pkcs12', '-in', file, '-passin', `pass:${PASSWORD}`, '-nodes', ...legacy)
    const blocks = text.match(/-----BEGIN [\s\S]+?-----END [A-Z ]+-----\n/g) ?? []
    expect(blocks).toHaveLength(3)
    expect(blocks).toEqual(expect.arrayContaining([pems.privateKey, pems.certificate, pems.chain]))
    expect(text).toContain('friendlyName: Wang (officer)')
  })

  test('key and certificates are encrypted as it says', () => {
    const { stderr } = spawnInfo(file, legacy)
    expect(stderr).toMatch(says)
    expect(stderr).toContain('PKCS7 Encrypted data')
    expect(stderr).toContain('Shrouded Keybag')
  })

  test('another password does not open it', () => {
    expect(() => run('openssl', 'pkcs12', '-in', file, '-passin', 'pass:another-one', '-nodes', ...legacy)).toThrow(/invalid password/)
  })

  test.runIf(canRun('pk12util', 'certutil'))('NSS opens it, as Firefox and Chromium do', () => {
    const database = mkdtempSync(join(folder, 'nss-'))
    run('certutil', '-N', '-d', `sql:${database}`, '--empty-password')
    expect(run('pk12util', '-i', file, '-d', `sql:${database}`, '-W', PASSWORD)).toContain('PKCS12 IMPORT SUCCESSFUL')
    expect(run('certutil', '-K', '-d', `sql:${database}`)).toMatch(/ec .*Wang \(officer\)/)
  })
})

function spawnInfo(file: string, legacy: readonly string[]): { readonly stderr: string } {
  const shell = 'openssl pkcs12 -info -noout -in "$1" -passin "pass:$2" $3 2>&1'
  return { stderr: run('sh', '-c', shell, 'sh', file, PASSWORD, legacy.join(' ')) }
}

test('an RSA key goes in as well', async () => {
  const { privateKey, certificate } = await makeEncryptionCertificate('acme')
  const file = join(folder, 'rsa.p12')
  writeFileSync(file, makePkcs12({ privateKey, certificate, chain: '', password: PASSWORD, friendlyName: 'acme' }))
  expect(run('openssl', 'pkcs12', '-in', file, '-passin', `pass:${PASSWORD}`, '-nodes', '-nocerts')).toContain(privateKey)
})

test.each(['short', 'päßword-long'])('the password %s is refused', (password) => {
  expect(() => makePkcs12({ ...pemPair(), password, friendlyName: 'x' })).toThrow(RangeError)
})
