import { execFileSync } from 'node:child_process'
import { createPrivateKey, createPublicKey, X509Certificate } from 'node:crypto'
import { expect, test } from 'vitest'
import { makeEncryptionCertificate, makeTlsRequest } from './csr.ts'

test('a TLS request verifies in openssl, with the key that was made', async () => {
  const { privateKey, csr } = await makeTlsRequest('acme')
  const own = createPublicKey(createPrivateKey(privateKey)).export({ format: 'pem', type: 'spki' }).toString()
  expect(execFileSync('openssl', ['req', '-verify', '-noout', '-pubkey', '-subject', '-nameopt', 'RFC2253'], { input: csr, encoding: 'utf8' })).toBe(
    `${own}subject=CN=acme\n`,
  )
})

test('an encryption certificate is RSA-3072, self-signed, for keyEncipherment', async () => {
  const { privateKey, certificate } = await makeEncryptionCertificate('acme encryption', { now: new Date('2026-11-23T00:00:00Z'), validityDays: 365 })
  const read = new X509Certificate(certificate)
  expect(read.publicKey.asymmetricKeyDetails).toMatchObject({ modulusLength: 3072, publicExponent: 65537n })
  expect(read.verify(read.publicKey)).toBe(true)
  expect(read.checkPrivateKey(createPrivateKey(privateKey))).toBe(true)
  expect(read.subject).toBe('CN=acme encryption')
  expect(read.validTo).toBe('Nov 23 00:00:00 2027 GMT')
  expect(read.ca).toBe(false)
  // KeyUsage, critical, with the one bit of keyEncipherment
  expect(read.raw.includes(Buffer.from('0603551d0f0101ff040403020520', 'hex'))).toBe(true)
})
