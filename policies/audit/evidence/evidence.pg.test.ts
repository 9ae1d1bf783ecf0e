import { generateKeyPairSync, sign } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { makeCertificate } from '../../../card-personalization/testing/certificates.ts'
import { describeEvidence, openEvidence } from '../../../clients/audit-evidence.ts'
import { utf8 } from '../../../core/bytes.ts'
import { keyId, newOperationId } from '../../../core/ids.ts'
import { documentToSign, signedDocument } from '../../../core/signed-document.ts'
import { testDatabase, type TestDatabase } from '../../../server/postgres/test-database.ts'
import type { Caller } from '../../caller.ts'
import { type Gate, perform } from '../../gate.ts'
import type { AnyOperation, Download } from '../../operation.ts'
import { type Activation, activationMessage, revisionOf } from '../../revisions/activation.ts'
import { auditFeature, type AuditFeature, logKey } from '../index.ts'
import { draftOf } from '../testing/drafts.ts'
import { softKeys } from '../testing/soft-keys.ts'
import { evidenceFeature } from './index.ts'
import { contentOf, encodeEvidence, EVIDENCE_TYPE, type EvidencePack, parseEvidence } from './pack.ts'

const POLICY = 'policy: 2\nchains: []\n'
const REVISION = revisionOf(POLICY)
const pair = () => generateKeyPairSync('ec', { namedCurve: 'P-256' })
const [rootKey, statementKey, policyKey] = [pair(), pair(), pair()]
const spkiOf = (key: typeof rootKey): Uint8Array => key.publicKey.export({ format: 'der', type: 'spki' })
const raw = (key: typeof rootKey, message: Uint8Array): Uint8Array => sign('sha256', message, { key: key.privateKey, dsaEncoding: 'ieee-p1363' })
const root = makeCertificate({ subject: [['CN', 'Gridseal root CA']], publicKey: spkiOf(rootKey), signer: rootKey.privateKey, ca: true, keyUsage: 0x06 })
const service = (name: string) =>
  makeCertificate({
    subject: [
      ['OU', 'services'],
      ['CN', `service:${name}`],
    ],
    ...{ issuer: root.certificate, publicKey: spkiOf(statementKey), signer: rootKey.privateKey, keyUsage: 0x80 },
  })
const statement = service('statement')
const signContent = (content: unknown, { type = EVIDENCE_TYPE, signer = statement } = {}): string => {
  const input = documentToSign(type, content, [signer.der, root.der])
  return signedDocument(input, raw(statementKey, utf8(input)))
}
const activation: Activation = {
  ...{
    number: 3,
    revision: REVISION,
    text: POLICY,
    reason: 'test',
    activatedBy: 'urn:gridseal:officer:ann',
    activatedAt: new Date(0),
    state: 'confirmed',
    version: 1,
  },
  signature: raw(policyKey, activationMessage({ number: 3, text: POLICY })),
}

let db: TestDatabase
let audit: AuditFeature
let gate: Gate
let operations: readonly AnyOperation[]
const folder = mkdtempSync(join(tmpdir(), 'gridseal-evidence-'))
const auditor: Caller = { kind: 'auditor', name: 'wang', id: 'a1' }
const [first, second, unknown] = [newOperationId(), newOperationId(), newOperationId()]
const decided = (revision: string, rule = 'r1') => ({ decision: { effect: 'allow', rule, revision, at: 1 } }) as const

beforeAll(async () => {
  db = await testDatabase()
  audit = auditFeature({
    ...{ sql: db.sql, connect: db.database.connect, integrity: softKeys(), origin: 'grid.example/audit', checkpointFile: join(folder, 'checkpoint') },
  })
  await audit.start()
  gate = {
    // Who audits uses no key, whatever the policy says.
    decide: ({ caller, uses }) => ({ effect: caller.kind === 'auditor' && uses.length > 0 ? 'deny' : 'allow', rule: 'r1', revision: REVISION, reason: '' }),
    log: audit.log,
  }
  operations = evidenceFeature({
    ...{ gate, log: audit, now: () => new Date() },
    signer: {
      keyId: keyId('root:statement'),
      sign: (permit, content) => {
        permit.assertAllows('sign', keyId('root:statement'))
        return Promise.resolve(signContent(content))
      },
    },
    revisions: { find: (revision) => Promise.resolve(revision === REVISION ? activation : undefined), publicKey: () => spkiOf(policyKey) },
  }).operations
  await audit.log.transact(({ append }) => Promise.resolve(append(draftOf('intent', first, decided(REVISION)))))
  await audit.log.transact(({ append }) =>
    Promise.resolve(append(draftOf('outcome', first, { ...decided(REVISION), facts: { public: { note: 'Zähler 电' } } }))),
  )
  await audit.log.append(draftOf('refusal', second, decided('unknown', 'error')))
  await audit.log.append(draftOf('event', unknown, decided('0123456789abcdef')))
  await audit.flush()
})
afterAll(async () => {
  await audit.close()
  await db.close()
  rmSync(folder, { recursive: true })
})

async function make(body: object): Promise<string> {
  const op = operations.find(({ name }) => name === 'policies.audit.evidence')
  if (op === undefined) throw new Error('no operation')
  const { chunks } = (await perform(gate, op, { caller: auditor, body })) as Download
  const parts: Uint8Array[] = []
  for await (const chunk of chunks) parts.push(chunk)
  return Buffer.concat(parts).toString('utf8')
}
const open = (text: string, more: object = {}) => openEvidence(text, { keys: [audit.key.vkey], trustedRoot: root.pem, at: new Date(), ...more })
const fileOf = (text: string) => {
  const file = parseEvidence(text)
  if (file === undefined) throw new Error('no pack')
  return file
}
/** As the thief of the statement key would: another pack, signed all the same. */
const resigned = (text: string, change: (pack: EvidencePack) => EvidencePack): string => {
  const pack = change(fileOf(text).pack)
  return encodeEvidence({ pack, signed: signContent(contentOf(pack)) })
}

describe('an evidence pack', () => {
  it('of operations is verified with the log’s key and the root alone, and says what it shows', async () => {
    const { pack, size, entries } = open(await make({ operations: [first, second] }))
    expect(entries.map(({ entry }) => [entry.id, entry.kind])).toEqual([
      [first, 'intent'],
      [first, 'outcome'],
      [second, 'refusal'],
    ])
    expect(size).toBeGreaterThanOrEqual(4)
    expect(pack.policies).toMatchObject({ revisions: [{ revision: REVISION, number: 3, text: POLICY }], absent: [] })
    expect(pack).toMatchObject({ requestedBy: 'urn:gridseal:auditor:wang', asked: { operations: [first, second] } })
    const told = describeEvidence(open(await make({ operations: [first] })))
    expect(told).toContain('VERIFIED: 2 entries of grid.example/audit')
    expect(told).toContain(`decided by r1 of ${REVISION}`)
  })

  it('of a range has all of it, and names policies that the service does not have', async () => {
    const evidence = open(await make({ from: 0, to: 4 }))
    expect(evidence.entries.map(({ index }) => index)).toEqual([0, 1, 2, 3])
    expect(evidence.pack.policies.absent).toEqual(['0123456789abcdef'])
    expect(describeEvidence(evidence)).toContain('does not have its text')
  })

  it('is signed by an operation of the service’s own, since who audits uses no key', async () => {
    const { packSha256 } = contentOf(fileOf(await make({ operations: [first] })).pack)
    await audit.flush()
    const entries = (await audit.reader.search({ from: 0, limit: 1000 })).map(({ entry }) => entry).filter(({ facts }) => facts?.['packSha256'] === packSha256)
    expect(entries.map(({ operation, caller, uses }) => [operation, caller.kind, uses ?? []])).toEqual([
      ['policies.audit.sign-evidence', 'system', [{ action: 'sign', keyId: 'root:statement' }]],
      ['policies.audit.evidence', 'auditor', []],
    ])
  })

  it.each([
    [{ operations: [newOperationId()] }, 'not-found'],
    [{ from: 0, to: 501 }, 'conflict'],
    [{ from: 2, to: 2 }, 'conflict'],
    [{ from: 0, to: 99_999 }, 'conflict'],
    [{}, 'request-invalid'],
    [{ from: 1 }, 'request-invalid'],
    [{ operations: [], from: 0, to: 1 }, 'request-invalid'],
    [{ operations: Array.from({ length: 51 }, () => newOperationId()) }, 'request-invalid'],
  ])('is refused for %j', async (body, code) => {
    await expect(make(body)).rejects.toMatchObject({ code })
  })

  it('is refused with any byte changed, left out or put in', async () => {
    const text = await make({ operations: [first] })
    open(text)
    const bytes = Buffer.from(text, 'utf8')
    const believed: string[] = []
    const attempt = (changed: Buffer, what: string): void => {
      try {
        open(changed.toString('utf8'))
        believed.push(what)
      } catch (error) {
        expect((error as Error).constructor.name, what).toBe('Refusal')
      }
    }
    // The instructions are a third of it, and a word of theirs is as good as another.
    const [words, rest] = [bytes.indexOf('"instructions"'), bytes.indexOf('"madeAt"')]
    for (let at = 0; at < bytes.length; at += at > words && at < rest ? 29 : 5) {
      const changed = Buffer.from(bytes)
      changed[at] = (changed[at] ?? 0) ^ (1 << (at % 7))
      attempt(changed, `bit of byte ${String(at)}`)
      if (at % 4 === 0) attempt(Buffer.concat([bytes.subarray(0, at), bytes.subarray(at + 1)]), `without byte ${String(at)}`)
      if (at % 4 === 2) attempt(Buffer.concat([bytes.subarray(0, at), Buffer.from(' '), bytes.subarray(at)]), `a space before byte ${String(at)}`)
    }
    attempt(Buffer.concat([bytes, Buffer.from('\n')]), 'a line end more')
    attempt(Buffer.alloc(0), 'nothing')
    expect(believed).toEqual([])
  })

  it('is refused where who holds the statement key changed what it shows', async () => {
    const text = await make({ operations: [first, second] })
    expect(() => open(resigned(text, (pack) => pack))).not.toThrow()
    // That the pack was made is an entry: the next checkpoint is another one.
    await audit.flush()
    const other = fileOf(await make({ from: 3, to: 4 })).pack
    const swap = (pack: EvidencePack): EvidencePack['entries'] => pack.entries.map((one, at) => ({ ...one, entry: pack.entries[(at + 1) % 3]?.entry ?? '' }))
    const changes: readonly (readonly [reason: string, change: (pack: EvidencePack) => EvidencePack])[] = [
      ['not in the log', (pack) => ({ ...pack, entries: pack.entries.map((one) => ({ ...one, entry: one.entry.replace('"ok"', '"no"') })) })],
      ['not in the log', (pack) => ({ ...pack, entries: swap(pack) })],
      ['another index', (pack) => ({ ...pack, entries: pack.entries.map((one) => ({ ...one, index: one.index + 1 })) })],
      ['order of the log', (pack) => ({ ...pack, entries: pack.entries.toReversed() })],
      ['order of the log', (pack) => ({ ...pack, entries: pack.entries.flatMap((one) => [one, one]) })],
      ['operations that were asked for', (pack) => ({ ...pack, entries: pack.entries.filter(({ entry }) => !entry.includes(second)) })],
      ['operations that were asked for', (pack) => ({ ...pack, asked: { operations: [first] } })],
      ['range that was asked for', (pack) => ({ ...pack, asked: { from: 0, to: 9 } })],
      ['another checkpoint', (pack) => ({ ...pack, log: { ...pack.log, checkpoint: other.log.checkpoint } })],
      [
        'the log did not sign',
        (pack) => ({ ...pack, log: { ...pack.log, checkpoint: pack.log.checkpoint.replace(/\n\n[^]*/, `\n\n\u2014 ${pack.log.origin} AAAAAAAA\n`) } }),
      ],
      ['of another log than the pack', (pack) => ({ ...pack, log: { ...pack.log, origin: 'other.example' } })],
      ['never had the key', (pack) => ({ ...pack, log: { ...pack.log, keys: [{ key: 'other.example+00000000+AQ==' }] } })],
      ['is missing', (pack) => ({ ...pack, policies: { ...pack.policies, revisions: [] } })],
      [
        'is another one',
        (pack) => ({ ...pack, policies: { ...pack.policies, revisions: pack.policies.revisions.map((one) => ({ ...one, text: `${one.text} ` })) } }),
      ],
      ['did not sign', (pack) => ({ ...pack, policies: { ...pack.policies, revisions: pack.policies.revisions.map((one) => ({ ...one, number: 4 })) } })],
      ['that no entry names', (pack) => ({ ...pack, policies: { ...pack.policies, absent: ['0123456789abcdef'] } })],
      ['policy key cannot be read', (pack) => ({ ...pack, policies: { ...pack.policies, key: 'AAAA' } })],
    ]
    for (const [reason, change] of changes) expect(() => open(resigned(text, change)), reason).toThrow(reason)
  })

  it('is of a log whose key was replaced: each key signs what it had to sign', async () => {
    const own = audit.key.vkey
    const other = logKey('grid.example/audit', 'ed25519', softKeys().checkpointKey.publicKey).vkey
    const text = await make({ operations: [first] })
    const size = open(text).size
    const withKeys = (...keys: EvidencePack['log']['keys']): string => resigned(text, (pack) => ({ ...pack, log: { ...pack.log, keys } }))
    expect(open(withKeys({ key: other, lastSize: 1 }, { key: own }), { keys: [other, own] }).entries).toHaveLength(2)
    expect(open(withKeys({ key: own, lastSize: size }, { key: other }), { keys: [own, other] }).entries).toHaveLength(2)
    expect(() => open(withKeys({ key: own, lastSize: size - 1 }, { key: other }), { keys: [own, other] })).toThrow('replaced when it had signed')
    expect(() => open(withKeys({ key: own, lastSize: size }, { key: other }), { keys: [other] })).toThrow('did not sign')
  })

  it('is refused where another signed it, or signed another kind of document', async () => {
    const { pack, signed } = fileOf(await make({ operations: [first] }))
    const content = contentOf(pack)
    const sealed = (by: string): string => encodeEvidence({ pack, signed: by })
    expect(() => open(sealed(signed))).not.toThrow()
    expect(() => open(sealed(signContent(content, { type: 'gridseal-key-statement' })))).toThrow('no signed evidence pack')
    expect(() => open(sealed(signContent(content, { signer: service('delivery') })))).toThrow('is not for service:statement')
    expect(() => open(sealed(signContent({ ...content, entries: 9 })))).toThrow('another pack')
    expect(() => open(sealed(signed), { trustedRoot: service('statement').pem })).toThrow('root')
    expect(() => open(sealed(signed), { at: new Date('2040-01-01') })).toThrow('not valid at')
    expect(() => open(sealed(signed), { keys: [logKey('grid.example/audit', 'ed25519', softKeys().checkpointKey.publicKey).vkey] })).toThrow(
      'never had the key',
    )
  })
})
