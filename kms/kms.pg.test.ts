import { execFileSync } from 'node:child_process'
import { createPublicKey, verify, X509Certificate } from 'node:crypto'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { openKeyStatement } from '../clients/key-statement.ts'
import { base64, fromBase64, hex, sha256, utf8 } from '../core/bytes.ts'
import { newUuid } from '../core/ids.ts'
import type { Problem } from '../core/problem.ts'
import { type TestToken, testToken } from '../pkcs11/testing/test-token.ts'
import type { AuditLog, EntryDraft } from '../policies/audit/log.ts'
import { type Caller, systemCaller } from '../policies/caller.ts'
import { perform } from '../policies/gate.ts'
import { memoryGate } from '../policies/testing/memory-gate.ts'
import { type TestDatabase, testDatabase } from '../server/postgres/test-database.ts'
import { kmsFeature, type Registration } from './index.ts'
import type { Statement } from './keys/statement.ts'
import { csrDer, ecPair, pemOf } from './testing/make-csr.ts'

/** Keys and certificates on a real token and a real database; only the log is in memory. */

const billing: Caller = { kind: 'module', name: 'billing', id: newUuid() }
const officer: Caller = { kind: 'officer', name: 'wang', id: newUuid() }

let token: TestToken
beforeAll(async () => {
  token = await testToken()
}, 60_000)
afterAll(() => token.close())

async function world() {
  const database: TestDatabase = await testDatabase()
  const registrations = new Map<string, Registration>()
  const kms = kmsFeature({
    hsm: token.hsm,
    token: token.identity,
    sealer: token.integrity,
    sql: database.sql,
    callers: { find: (id) => Promise.resolve(registrations.get(id)) },
  })
  const entries: EntryDraft[] = []
  const log: AuditLog = {
    transact: (work) => database.transact((tx) => work({ tx, append: (entry) => void entries.push(entry) })),
    append: (entry) => Promise.resolve(void entries.push(entry)),
    giveUp: () => undefined,
  }
  const gate = { decide: memoryGate().decide, log }
  const operations = [...kms.operations, ...Object.values(kms.systemOperations)]
  const ask = async <Output>(name: string, body: unknown, caller: Caller = billing): Promise<Output> => {
    const op = operations.find((candidate) => candidate.name === name)
    if (op === undefined) throw new Error(`there is no operation ${name}`)
    return (await perform(gate, op, { caller, body })) as Output
  }
  const establish = () => ask<{ authorities: CertificateView[] }>('kms.authority.establish', {}, systemCaller('start'))
  const issue = (kind: 'vendor' | 'officer', name: string, pair = ecPair('P-256')) => {
    const callerId = newUuid()
    registrations.set(callerId, { id: callerId, kind, name, state: 'active', version: 1 })
    return ask<CertificateView & { chain: string }>('kms.certificate.issue', { callerId, csr: pemOf(csrDer({ pair })) }, officer)
  }
  return { database, kms, entries, ask, establish, issue }
}

interface CertificateView {
  readonly serial: string
  readonly subjectId: string
  readonly certificate: string
  readonly fingerprint: string
}
interface KeyView {
  readonly keyId: string
  readonly publicKey?: string
}

const problemOf = (work: Promise<unknown>): Promise<Problem> =>
  work.then(
    () => expect.unreachable('it was not refused'),
    (error: unknown) => error as Problem,
  )

let at: Awaited<ReturnType<typeof world>>
beforeEach(async () => {
  at = await world()
  return () => at.database.close()
})

describe('keys', () => {
  test.each(['ec-p256', 'hmac-sha256'])('%s: a batch of 1,000 is signed and verified', async (algorithm) => {
    const { keyId, publicKey } = await at.ask<KeyView>('kms.key.generate', { label: 'meters', algorithm })
    const messages = Array.from({ length: 1000 }, (_, i) => utf8(`reading ${i}`))
    const { signatures } = await at.ask<{ signatures: { signature: string }[] }>('kms.key.sign', {
      keyId,
      items: messages.map((message) => ({ message: base64(message) })),
    })
    const items = messages.map((message, i) => ({ message: base64(message), signature: signatures[(i === 7 ? 8 : i) % 1000]?.signature }))
    const { results } = await at.ask<{ results: { valid: boolean }[] }>('kms.key.verify', { keyId, items })
    expect(results.flatMap(({ valid }, i) => (valid ? [] : [i]))).toEqual([7])
    if (publicKey === undefined) return
    const key = { key: createPublicKey(publicKey), dsaEncoding: 'ieee-p1363' } as const
    expect(verify('sha256', messages[3] ?? utf8(''), key, fromBase64(signatures[3]?.signature ?? ''))).toBe(true)
  })

  test('a statement of a key is signed, and says of a wrapped one what the service guarantees, of one in the token what the token answers', async () => {
    await at.establish()
    await at.ask('kms.service-certificate.issue', { purpose: 'statement' }, systemCaller('start'))
    const root = (await at.kms.certificates.chainPem('root')) ?? ''
    const { keyId, publicKey } = await at.ask<KeyView>('kms.key.generate', { label: 'readings', algorithm: 'ec-p256' })
    const stated = async (id: string) => {
      const { statement, signed } = await at.ask<{ statement: Statement; signed: string }>('kms.key.attest', { keyId: id }, officer)
      expect(openKeyStatement({ text: signed, trustedRoot: root })).toEqual(statement)
      return statement
    }
    expect(await stated(keyId)).toMatchObject({
      ...{ residence: 'wrapped', keyId, algorithm: 'ec-p256', state: 'active', owner: 'urn:gridseal:module:billing' },
      publicKeySha256: hex(sha256(createPublicKey(publicKey ?? '').export({ type: 'spki', format: 'der' }))),
      token: { serial: token.identity.serial, label: 'gridseal' },
      guarantee: { exportable: false, wrappedBy: 'root:storage-kek', sealedBy: 'root:row-mac', row: { version: 2 } },
    })
    const inToken = { private: true, sensitive: true, extractable: false, modifiable: false }
    expect(await stated('root:ca-cards')).toMatchObject({
      residence: 'token',
      attributes: {
        class: 'private',
        keyType: 'ec',
        flags: { ...inToken, local: true, alwaysSensitive: true, neverExtractable: true },
        uses: ['sign'],
        mechanisms: ['0x1041'],
      },
    })
    expect(await stated('root:storage-kek')).toMatchObject({
      residence: 'token',
      attributes: { class: 'secret', keyType: 'aes', flags: { ...inToken, trusted: true }, uses: ['wrap', 'unwrap'], mechanisms: ['0x210a'] },
    })
    expect(at.entries.at(-1)).toMatchObject({ operation: 'kms.key.attest', code: 'ok', facts: { public: { keyId: 'root:storage-kek', residence: 'token' } } })

    const { signed } = await at.ask<{ signed: string }>('kms.key.attest', { keyId }, officer)
    const [head, payload = '', signature] = signed.split('.')
    const changed = Buffer.from(Buffer.from(payload, 'base64url').toString('utf8').replace('wrapped', 'token')).toString('base64url')
    expect(() => openKeyStatement({ text: [head, changed, signature].join('.'), trustedRoot: root })).toThrow(/signature/)
    for (const unknown of ['root:other', 'master:0198f2c1-7a40-7c3e-9d52-6a1f0b2c3d4e', newUuid()]) {
      expect((await problemOf(at.ask('kms.key.attest', { keyId: unknown }, officer))).code).toBe('not-found')
    }
    for (const odd of ['root:Ca', 'root:', '../x', 'transport:a/b'])
      expect((await problemOf(at.ask('kms.key.attest', { keyId: odd }))).code).toBe('request-invalid')
    await at.database.ownerSql.query(`UPDATE kms_keys SET label = 'else' WHERE id = $1`, [keyId])
    expect((await problemOf(at.ask('kms.key.attest', { keyId }))).code).toBe('integrity-failed')
  })

  test('aes-gcm-256: a batch of 256 is encrypted and decrypted; of a batch with one of another key nothing is answered', async () => {
    const [mine, theirs] = await Promise.all(['a', 'b'].map((label) => at.ask<KeyView>('kms.key.generate', { label, algorithm: 'aes-gcm-256' })))
    const items = Array.from({ length: 256 }, (_, i) => ({ plaintext: base64(utf8(`reading ${i}`)), aad: base64(utf8(`meter ${i % 5}`)) }))
    const encrypt = async (keyId = '') => (await at.ask<{ ciphertexts: { ciphertext: string }[] }>('kms.key.encrypt', { keyId, items })).ciphertexts
    const ciphertexts = (await encrypt(mine?.keyId)).map(({ ciphertext }, i) => ({ ciphertext, aad: items[i]?.aad }))
    const { plaintexts } = await at.ask<{ plaintexts: { plaintext: string }[] }>('kms.key.decrypt', { keyId: mine?.keyId, items: ciphertexts })
    expect(plaintexts.map(({ plaintext }) => plaintext)).toEqual(items.map(({ plaintext }) => plaintext))
    const mixed = ciphertexts.with(7, { ciphertext: (await encrypt(theirs?.keyId))[7]?.ciphertext ?? '', aad: items[7]?.aad })
    const problem = await problemOf(at.ask('kms.key.decrypt', { keyId: mine?.keyId, items: mixed }))
    expect([problem.code, problem.faults.map(({ pointer }) => pointer)]).toEqual(['request-invalid', ['/items/7/ciphertext']])
    expect(at.entries.at(-1)).toMatchObject({ operation: 'kms.key.decrypt', code: 'request-invalid' })
  })

  test.each([
    ['the owner', `owner = 'urn:gridseal:module:traffic'`],
    ['the label', `label = 'other'`],
    ['the version', `version = version + 1`],
    ['the wrapped key', `wrapped = set_byte(wrapped, 0, get_byte(wrapped, 0) # 1)`],
  ])('a row of which the database’s owner changed %s is refused at use', async (_what, edit) => {
    const { keyId } = await at.ask<KeyView>('kms.key.generate', { label: 'meters', algorithm: 'ec-p256' })
    await at.database.ownerSql.query(`update kms_keys set ${edit} where id = $1`, [keyId])
    expect((await problemOf(at.ask('kms.key.sign', { keyId, items: [{ message: '' }] }))).code).toBe('integrity-failed')
    expect((await problemOf(at.ask('kms.key.get', { keyId }))).code).toBe('integrity-failed')
  })

  test('a key that was deactivated in the database by force is told for what it is', async () => {
    const { keyId } = await at.ask<KeyView>('kms.key.generate', { label: 'meters', algorithm: 'ec-p256' })
    await at.database.ownerSql.query(`update kms_keys set state = 'deactivated' where id = $1`, [keyId])
    expect((await problemOf(at.ask('kms.key.sign', { keyId, items: [{ message: '' }] }))).code).toBe('integrity-failed')
    expect((await problemOf(at.ask('kms.key.verify', { keyId, items: [{ message: '', signature: '' }] }))).code).toBe('integrity-failed')
  })

  test('two callers’ keys do not verify for each other', async () => {
    const [a, b] = await Promise.all(['a', 'b'].map((label) => at.ask<KeyView>('kms.key.generate', { label, algorithm: 'hmac-sha256' })))
    const { signatures } = await at.ask<{ signatures: { signature: string }[] }>('kms.key.sign', { keyId: a?.keyId, items: [{ message: 'AAAA' }] })
    const items = [{ message: 'AAAA', signature: signatures[0]?.signature }]
    expect(await at.ask('kms.key.verify', { keyId: a?.keyId, items })).toMatchObject({ results: [{ valid: true }] })
    expect(await at.ask('kms.key.verify', { keyId: b?.keyId, items })).toMatchObject({ results: [{ valid: false }] })
  })
})

describe('certificates', () => {
  const folder = mkdtempSync(join(tmpdir(), 'gridseal-kms-'))
  afterAll(() => rmSync(folder, { recursive: true }))
  const file = (name: string, text: string): string => {
    writeFileSync(join(folder, name), text)
    return join(folder, name)
  }

  test('what the token signed, openssl verifies strictly', async () => {
    const { authorities } = await at.establish()
    const pem = (of: string) => file(`${of}.pem`, authorities.find(({ subjectId }) => subjectId === of)?.certificate ?? '')
    const issued = await at.issue('vendor', 'acme.cards')
    const delivery = await at.ask<CertificateView>('kms.service-certificate.issue', { purpose: 'delivery' }, systemCaller('start'))
    const strictly = (certificate: string, ...more: string[]) =>
      execFileSync('openssl', ['verify', '-x509_strict', '-CAfile', pem('root'), ...more, file('leaf.pem', certificate)], { encoding: 'utf8' })
    expect(strictly(issued.certificate, '-untrusted', pem('callers'), '-purpose', 'sslclient')).toContain('OK')
    expect(strictly(delivery.certificate)).toContain('OK')
    expect(strictly(authorities.find(({ subjectId }) => subjectId === 'cards')?.certificate ?? '')).toContain('OK')
    expect(new X509Certificate(issued.certificate).subjectAltName).toBe('URI:urn:gridseal:vendor:acme.cards')
    expect(at.entries.at(-1)?.facts?.rows).toMatchObject([{ table: 'certificates', id: delivery.serial, version: 2 }])
  })

  test('two that establish at once leave one set of authorities', async () => {
    const results = await Promise.allSettled([at.establish(), at.establish()])
    expect(results.some(({ status }) => status === 'fulfilled')).toBe(true)
    const issued = await at.database.sql.query(`select subject_id from certificates where state = 'issued' order by subject_id`)
    expect(issued).toEqual([{ subject_id: 'callers' }, { subject_id: 'cards' }, { subject_id: 'root' }])
    expect((await at.establish()).authorities).toHaveLength(3)
    expect(await at.kms.certificates.isEstablished()).toBe(true)
  })

  test('who connects is found by the fingerprint, and the revocation is seen at once', async () => {
    await at.establish()
    const issued = await at.issue('vendor', 'acme')
    const fingerprint = hex(sha256(new X509Certificate(issued.certificate).raw))
    expect(await at.kms.certificates.findByFingerprint(fingerprint)).toMatchObject({ serial: issued.serial, callerId: issued.subjectId, state: 'issued' })
    await at.ask('kms.certificate.revoke', { serial: issued.serial, reason: 'keyCompromise' }, officer)
    expect(await at.kms.certificates.findByFingerprint(fingerprint)).toMatchObject({ state: 'revoked' })
    expect(await at.kms.certificates.findByFingerprint('00'.repeat(32))).toBeUndefined()
  })

  test('a certificate that is no client’s is nobody’s, even when its CA is ours', async () => {
    const { authorities } = await at.establish()
    const delivery = await at.ask<CertificateView>('kms.service-certificate.issue', { purpose: 'delivery' }, systemCaller('start'))
    for (const { fingerprint } of [...authorities, delivery]) expect(await at.kms.certificates.findByFingerprint(fingerprint)).toBeUndefined()
  })

  test.each([
    ['un-revoked', `state = 'issued', reason = null, revoked_at = null`],
    ['given to another', `subject_id = 'someone'`],
    ['made longer', `not_after = not_after + interval '10 years'`],
    ['given another fingerprint', `fingerprint_sha256 = '${'00'.repeat(32)}'`],
  ])('one that was %s in the database is refused', async (_what, edit) => {
    await at.establish()
    const issued = await at.issue('vendor', 'acme')
    await at.ask('kms.certificate.revoke', { serial: issued.serial, reason: 'keyCompromise' }, officer)
    await at.database.ownerSql.query(`update certificates set ${edit} where serial = $1`, [issued.serial])
    const fingerprint = edit.includes('fingerprint') ? '00'.repeat(32) : issued.fingerprint
    expect((await problemOf(at.kms.certificates.findByFingerprint(fingerprint))).code).toBe('integrity-failed')
    expect((await problemOf(at.ask('kms.certificate.get', { serial: issued.serial }, officer))).code).toBe('integrity-failed')
  })

  test('a certificate that the database’s owner made up is refused', async () => {
    await at.establish()
    const issued = await at.issue('officer', 'wang')
    const forged = '11'.repeat(32)
    await at.database.ownerSql.query(
      `insert into certificates select '${'41'.repeat(16)}', version, mac, authority, profile, subject_kind, subject_id, tbs_sha256, der, '${forged}', not_before, not_after, state
       from certificates where serial = $1`,
      [issued.serial],
    )
    expect((await problemOf(at.kms.certificates.findByFingerprint(forged))).code).toBe('integrity-failed')
  })

  test('the chain of the service’s certificate is there to be shown', async () => {
    expect(await at.kms.certificates.chainPem('root')).toBeUndefined()
    expect(await at.kms.certificates.findService('delivery')).toBeUndefined()
    await at.establish()
    const { serial } = await at.ask<CertificateView>('kms.service-certificate.issue', { purpose: 'delivery' }, systemCaller('start'))
    expect(await at.kms.certificates.findService('delivery')).toMatchObject({ serial })
    expect((await at.kms.certificates.chainPem('callers'))?.match(/BEGIN CERTIFICATE/g)).toHaveLength(2)
  })
})
