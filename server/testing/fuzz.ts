import fc from 'fast-check'
import { exampleFiling } from '../../clients/admission.ts'
import type { EdgeSite, Wanted, Who } from './edge-site.ts'

/** An operation of /openapi.json: what is read of it here. */
export interface Described {
  readonly operationId: string
  readonly method: 'GET' | 'POST'
  readonly path: string
  /** Whether it is for anybody, without certificate and session. */
  readonly isOpen: boolean
}

export interface OpenApi {
  readonly openapi: string
  readonly paths: Readonly<Record<string, Readonly<Record<string, { readonly operationId: string; readonly security?: readonly object[] }>>>>
}

export const describedIn = ({ paths }: OpenApi): Described[] =>
  Object.entries(paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, { operationId, security }]) => ({
      ...{ operationId, method: method.toUpperCase() as Described['method'], path, isOpen: security?.length === 0 },
    })),
  )

/** Requests near to valid ones: who may call, and fields of which some are of things that are there. */
interface Seed {
  readonly who: Who
  readonly fields: Readonly<Record<string, unknown>>
}

const NOWHERE = '01890000-0000-7000-8000-000000000000'

/** COSE_Sign1 with ES256 over a map of one claim: of the form of evidence, and no card's. */
const EVIDENCE = Buffer.from(`d28443a10126a043a107015840${'01'.repeat(64)}`, 'hex').toString('base64')

/** By operation. Every operation is to have one; what would end those who call is of ids that are nowhere. */
export async function seedsOf(site: EdgeSite): Promise<Readonly<Record<string, Seed>>> {
  const { alice, module, vendor, auditor } = site
  const { keyId } = await module.client.post<{ keyId: string }>('/v1/kms/keys', { label: 'fuzzed', algorithm: 'ec-p256' })
  const { keyId: cipherKeyId } = await module.client.post<{ keyId: string }>('/v1/kms/keys', { label: 'fuzzed-cipher', algorithm: 'aes-gcm-256' })
  const start = { iccid: '89860012345678901238', imsi: '460001234567890' }
  const order = { profile: 'grid-usim-1', transportKeyId: vendor.transportKeyId, start, quantity: 3 }
  const { orderId } = await vendor.client.post<{ orderId: string }>('/v1/card-personalization/orders', order)
  const items = [{ message: 'bWV0ZXI=', signature: Buffer.alloc(64, 1).toString('base64') }]
  const page = { after: NOWHERE, limit: '10' }
  return {
    'kms.key.generate': { who: module, fields: { label: 'fuzzed-2', algorithm: 'hmac-sha256' } },
    'kms.key.get': { who: module, fields: { keyId } },
    'kms.key.list': { who: module, fields: { after: keyId, limit: '10' } },
    'kms.key.sign': { who: module, fields: { keyId, items: items.map(({ message }) => ({ message })) } },
    'kms.key.verify': { who: module, fields: { keyId, items } },
    'kms.key.encrypt': { who: module, fields: { keyId: cipherKeyId, items: [{ plaintext: 'bWV0ZXI=', aad: 'YQ==' }] } },
    'kms.key.decrypt': { who: module, fields: { keyId: cipherKeyId, items: [{ ciphertext: Buffer.alloc(40, 1).toString('base64'), aad: 'YQ==' }] } },
    'kms.certificate.issue': {
      who: alice,
      fields: { callerId: module.callerId, csr: '-----BEGIN CERTIFICATE REQUEST-----\nMIIB\n-----END CERTIFICATE REQUEST-----\n', validityDays: 1 },
    },
    'kms.certificate.get': { who: alice, fields: { serial: '0'.repeat(32) } },
    'kms.certificate.revoke': { who: alice, fields: { serial: '0'.repeat(32), reason: 'superseded' } },
    'kms.authority.get': { who: alice, fields: { name: 'root' } },
    'kms.root-key.request-rotation': { who: alice, fields: { key: 'row-mac', reason: 'fuzzed' } },
    'kms.root-key.approve-rotation': { who: alice, fields: { rotationId: NOWHERE } },
    'kms.root-key.cancel-rotation': { who: alice, fields: { rotationId: NOWHERE } },
    'kms.root-key.accept-refused': { who: alice, fields: { rotationId: NOWHERE, count: 3 } },
    'kms.root-key.get-rotation': { who: alice, fields: { rotationId: NOWHERE } },
    'kms.root-key.export-backup': { who: alice, fields: { reason: 'fuzzed' } },
    'kms.root-key.authorise-ceremony': { who: alice, fields: { ceremony: 'adopt-token', token: 'fuzzed', reason: 'fuzzed', hours: 1 } },
    'kms.root-key.list-rotations': { who: alice, fields: { before: NOWHERE, limit: '10' } },
    'policies.caller.register': { who: alice, fields: { kind: 'module', name: 'fuzzed' } },
    'policies.caller.list': { who: alice, fields: page },
    'policies.caller.revoke': { who: alice, fields: { callerId: NOWHERE } },
    'policies.admission.file': { who: alice, fields: { callerId: module.callerId, ...exampleFiling('fuzzed') } },
    'policies.admission.change': { who: alice, fields: { callerId: vendor.callerId, user: exampleFiling('fuzzed').user } },
    'policies.admission.suspend': { who: alice, fields: { callerId: NOWHERE, reason: 'fuzzed' } },
    'policies.admission.resume': { who: alice, fields: { callerId: NOWHERE, reason: 'fuzzed' } },
    'policies.admission.get': { who: alice, fields: { callerId: module.callerId } },
    'policies.admission.history': { who: alice, fields: { callerId: module.callerId, before: '2', limit: '5' } },
    'policies.admission.list': { who: alice, fields: { ...page, expiresBefore: '2030-01-01T00:00:00Z' } },
    'policies.grant.issue': {
      who: alice,
      fields: {
        ...{ reason: 'fuzzed', callers: ['urn:gridseal:module:billing'], operations: ['kms.key.attest'], zones: ['local'], networks: ['127.0.0.0/8'] },
        ...{ from: '2026-01-01T00:00:00Z', until: '2026-01-01T01:00:00Z' },
      },
    },
    'policies.grant.revoke': { who: alice, fields: { grantId: NOWHERE, reason: 'fuzzed' } },
    'policies.grant.get': { who: alice, fields: { grantId: NOWHERE } },
    'policies.grant.list': { who: alice, fields: { live: 'true', before: NOWHERE, limit: '5' } },
    'policies.grant.report': { who: auditor, fields: { grantId: NOWHERE, from: '0', limit: '10' } },
    'policies.hold.list': { who: alice, fields: { mine: 'true', state: 'waiting', before: NOWHERE, limit: '5' } },
    'policies.hold.get': { who: alice, fields: { holdId: NOWHERE } },
    'policies.hold.approve': { who: alice, fields: { holdId: NOWHERE, digest: 'A'.repeat(43) } },
    'policies.hold.refuse': { who: alice, fields: { holdId: NOWHERE, reason: 'fuzzed' } },
    'policies.hold.withdraw': { who: alice, fields: { holdId: NOWHERE } },
    'policies.hold.run': { who: alice, fields: { holdId: NOWHERE } },
    'policies.revision.list': { who: alice, fields: { before: '2', limit: '5' } },
    'policies.revision.get': { who: alice, fields: { revision: '0123456789abcdef' } },
    'policies.revision.activate': { who: alice, fields: { text: 'policy: 2\nchains: []\n', reason: 'fuzzed', confirmWithinSeconds: 30 } },
    'policies.revision.analyse': { who: alice, fields: { text: 'policy: 2\nchains: []\n' } },
    'policies.revision.compare': { who: alice, fields: { text: 'policy: 2\nchains: []\n', base: '0123456789abcdef' } },
    'policies.revision.confirm': { who: alice, fields: { number: '1' } },
    'policies.revision.roll-back': { who: alice, fields: { number: '1', reason: 'fuzzed' } },
    'policies.decision.explain': { who: alice, fields: { request: { caller: 'module:billing', operation: 'kms.key.sign', address: '127.0.0.1' } } },
    'policies.decision.rerun': { who: auditor, fields: { operationId: NOWHERE } },
    'policies.audit.reveal': { who: auditor, fields: { entries: [0, 1], names: ['iccid'], reason: 'fuzzed' } },
    'policies.personal.find': { who: alice, fields: { subjects: [{ name: 'iccid', value: start.iccid }, { value: 'fuzzed' }] } },
    'policies.personal.erase': { who: alice, fields: { subjects: [{ name: 'iccid', value: 'fuzzed' }], reason: 'fuzzed' } },
    'policies.alarm.list': { who: alice, fields: { open: 'true', before: NOWHERE, limit: '5' } },
    'policies.alarm.acknowledge': { who: alice, fields: { alarmId: NOWHERE, reason: 'fuzzed' } },
    'policies.person.register': { who: alice, fields: { name: 'fuzzed-person' } },
    'policies.person.list': { who: alice, fields: page },
    'policies.person.revoke': { who: alice, fields: { personId: NOWHERE } },
    'policies.person.issue-ticket': { who: alice, fields: { personId: NOWHERE } },
    'policies.person.list-sessions': { who: alice, fields: { personId: NOWHERE } },
    'policies.person.end-sessions': { who: alice, fields: { personId: NOWHERE, sessionId: NOWHERE } },
    'policies.password.set': { who: {}, fields: { ticket: 'A'.repeat(43), password: 'tower gravel anise 9' } },
    'policies.password.change': { who: alice, fields: { password: 'tower gravel anise 9', newPassword: 'other words entirely 4', code: '123456' } },
    'policies.totp.enrol': { who: {}, fields: { ticket: 'A'.repeat(43) } },
    'policies.totp.confirm': { who: {}, fields: { ticket: 'A'.repeat(43), code: '123456' } },
    'policies.session.open': { who: {}, fields: { name: 'nobody', password: 'tower gravel anise 9', code: '123456' } },
    'policies.session.list': { who: alice, fields: {} },
    'policies.session.close': { who: alice, fields: {} },
    'policies.session.revoke': { who: alice, fields: { sessionId: NOWHERE } },
    'policies.audit.search': {
      who: auditor,
      fields: {
        ...{ from: '0', limit: '10', order: 'newest', operationId: NOWHERE, operation: 'kms.key.sign', caller: 'urn:gridseal:module:billing', code: 'ok' },
        ...{ role: 'module', zone: 'local', address: '127.0.0.0/8', object: NOWHERE, kind: 'outcome', rule: 'auditors', revision: '0123456789abcdef' },
        ...{ parent: NOWHERE, person: 'alice', since: '2026-01-01T00:00:00Z', until: '2030-01-01' },
      },
    },
    'policies.audit.query': {
      who: auditor,
      fields: {
        query: {
          and: [
            { field: 'operation', like: ['kms.key.*'] },
            { not: { or: [{ field: 'address', is: ['127.0.0.0/8'] }, { ids: [NOWHERE] }, { personal: 'iccid', value: '89860123456789012345' }] } },
            { since: '2026-01-01' },
          ],
        },
        ...{ order: 'newest', from: 5, limit: 10 },
      },
    },
    'policies.audit.count': { who: auditor, fields: { query: { field: 'code', is: ['ok'] }, by: 'time', most: 10, bucketMs: 3_600_000_000 } },
    'policies.integrity.get': { who: auditor, fields: {} },
    'policies.integrity.check': { who: alice, fields: {} },
    'policies.audit.get': { who: auditor, fields: { operationId: NOWHERE } },
    'policies.audit.proof': { who: auditor, fields: { operationId: NOWHERE, from: '0', limit: '10' } },
    'policies.audit.proof-of-entry': { who: auditor, fields: { index: '3' } },
    'policies.audit.checkpoint': { who: auditor, fields: {} },
    'policies.audit.export': { who: auditor, fields: { format: 'csv', from: '0', to: '9', since: '2026-01-01T00:00:00Z', until: '2036-01-01T00:00:00Z' } },
    'policies.audit.evidence': { who: auditor, fields: { from: 0, to: 3 } },
    'policies.audit.bundle': { who: auditor, fields: { index: '0', count: '1', width: '1' } },
    'card-personalization.vendor.register': {
      who: alice,
      fields: { name: 'Fuzzed Ltd', callerName: 'fuzzed', encryptionCertificate: vendor.encryptionCertificate },
    },
    'card-personalization.vendor.get': { who: alice, fields: { vendorId: vendor.vendorId } },
    'card-personalization.vendor.list': { who: alice, fields: page },
    'card-personalization.vendor.confirm': { who: alice, fields: { vendorId: vendor.vendorId, fingerprint: vendor.fingerprint } },
    'card-personalization.transport-key.make': { who: alice, fields: { vendorId: NOWHERE } },
    'card-personalization.transport-key.get': { who: vendor, fields: { transportKeyId: vendor.transportKeyId } },
    'card-personalization.order.submit': {
      who: vendor,
      fields: { ...order, purchaseOrder: 'PO-FUZZ', region: '330106', start: { ...start, iccid: '89860012345678901246' } },
    },
    'card-personalization.order.get': { who: vendor, fields: { orderId } },
    'card-personalization.order.list': { who: vendor, fields: { ...page, region: '330000' } },
    'card-personalization.order.approve': { who: alice, fields: { orderId: NOWHERE } },
    'card-personalization.order.cancel': { who: vendor, fields: { orderId: NOWHERE } },
    'card-personalization.order.resume': { who: alice, fields: { orderId } },
    'card-personalization.delivery.fetch': { who: vendor, fields: { orderId } },
    'kms.key.attest': { who: alice, fields: { keyId: 'root:ca-cards' } },
    'attestation.card.challenge': { who: module, fields: { iccid: start.iccid, method: 'milenage' } },
    'attestation.card.answer': { who: module, fields: { iccid: start.iccid, challengeId: 'A'.repeat(43), mac: 'A'.repeat(22) } },
    'attestation.cards.challenge': { who: module, fields: { iccids: [start.iccid] } },
    'attestation.evidence.appraise': { who: module, fields: { evidence: EVIDENCE } },
    'attestation.evidence.appraise-batch': { who: module, fields: { evidence: [EVIDENCE, EVIDENCE] } },
    'attestation.binding.bind': { who: module, fields: { evidence: EVIDENCE } },
    'attestation.binding.get': { who: module, fields: { iccid: start.iccid, at: '2026-01-01T00:00:00Z' } },
    'attestation.binding.history': { who: alice, fields: { imei: '490154203237518' } },
    'attestation.binding.unbind': { who: module, fields: { iccid: start.iccid, reason: 'meter replaced' } },
    'attestation.binding.approve-unbind': { who: alice, fields: { requestId: NOWHERE } },
  }
}

/** Text that programs trip over. */
const NASTY = [
  '',
  ' ',
  '\0',
  'a\0b',
  '\ud800',
  '%00',
  '../..',
  '__proto__',
  'constructor',
  "'; --",
  '\u202e',
  'ａ',
  '0',
  '-1',
  '1e999',
  'NaN',
  'null',
  'true',
  'A'.repeat(5000),
  '9'.repeat(400),
  '٣',
  '\n',
  '${x}',
]
const value: fc.Arbitrary<unknown> = fc.oneof(
  { weight: 4, arbitrary: fc.constantFrom<unknown>(...NASTY) },
  { weight: 2, arbitrary: fc.constantFrom<unknown>(null, true, 0, -1, 1.5, 2 ** 31, 2 ** 53, 1e308, [], {}, [[]], [null], { a: 1 }) },
  { weight: 2, arbitrary: fc.string({ unit: 'binary', maxLength: 40 }) },
  { weight: 1, arbitrary: fc.jsonValue({ maxDepth: 3 }) },
)

/** Where a value is changed: the steps are counted through what is there. */
const change = fc.record({ steps: fc.array(fc.nat(30), { minLength: 1, maxLength: 4 }), how: fc.constantFrom('replace', 'remove', 'add', 'twice'), value })
type Change = typeof change extends fc.Arbitrary<infer Value> ? Value : never

function changed(from: unknown, { steps, how, value: by }: Change): unknown {
  const [step = 0, ...rest] = steps
  if (typeof from !== 'object' || from === null) return by
  const entries = Object.entries(from)
  const at = entries.length === 0 ? 0 : step % entries.length
  const [name = 'x', old] = entries[at] ?? []
  if (rest.length > 0 && typeof old === 'object' && old !== null) entries[at] = [name, changed(old, { steps: rest, how, value: by })]
  else if (how === 'remove') entries.splice(at, 1)
  else if (how === 'add') entries.push([typeof by === 'string' ? by : 'unknown', by])
  else if (how === 'twice') entries[at] = [name, [old, old]]
  else entries[at] = [name, by]
  return Array.isArray(from) ? entries.map(([, one]) => one) : Object.fromEntries(entries)
}

/** Requests of an operation: valid ones with a change or two, and some bodies that have nothing to do with it. */
export function requestsOf({ method, path }: Described, { fields }: Seed): fc.Arbitrary<Wanted> {
  const inPath = [...path.matchAll(/\{(\w+)\}/g)].map((match) => match[1] ?? '')
  const body = fc.oneof(
    { weight: 6, arbitrary: fc.array(change, { minLength: 1, maxLength: 2 }).map((changes) => changes.reduce<unknown>(changed, fields)) },
    { weight: 1, arbitrary: fc.constant(fields as unknown) },
    { weight: 1, arbitrary: fc.jsonValue({ maxDepth: 4 }) },
  )
  return body.map((all) => {
    const given = typeof all === 'object' && all !== null && !Array.isArray(all) ? (all as Record<string, unknown>) : undefined
    const filled = path.replaceAll(/\{(\w+)\}/g, (_, name: string) => encode(given?.[name] ?? fields[name]))
    const rest = given === undefined ? all : Object.fromEntries(Object.entries(given).filter(([name]) => !inPath.includes(name)))
    if (method === 'POST') return { method, path: filled, headers: { 'content-type': 'application/json' }, body: JSON.stringify(rest) }
    const query = Object.entries((given === undefined ? {} : rest) as object).flatMap(([name, one]) =>
      (Array.isArray(one) ? one : [one]).map((single: unknown) => `${encode(name)}=${encode(single)}`),
    )
    return { path: query.length === 0 ? filled : `${filled}?${query.join('&')}` }
  })
}

/** Percent-encoded, whatever it is; half surrogates, which have no UTF-8, as the bytes that sloppy encoders make. */
const encode = (part: unknown): string => {
  const text = typeof part === 'string' ? part : (JSON.stringify(part) ?? '')
  return /\p{Cs}/u.test(text) ? '%ED%A0%80' : encodeURIComponent(text.slice(0, 3000))
}
