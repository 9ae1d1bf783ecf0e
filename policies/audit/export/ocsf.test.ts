import { describe, expect, it } from 'vitest'
import { newOperationId } from '../../../core/ids.ts'
import { allOperations } from '../../../server/testing/all-operations.ts'
import { type Entry, encodeEntry, parseEntry } from '../entry.ts'
import type { EntryDraft, EntryKind } from '../log.ts'
import { ocsfEvent } from './ocsf.ts'
import { OCSF_CLASSES, ocsfPlaceOf, OTHER, PLACED_OPERATIONS } from './ocsf-classes.ts'

/**
 * What the schema requires, as facts of https://github.com/ocsf/ocsf-schema at v1.9.0: `requirement: required` of events/base_event.json and of the class's own
 * file, and the constraints `at_least_one` of it and of the objects user, actor, network_endpoint, managed_entity, product. `app` of application_lifecycle is
 * deprecated since 1.9.0 in favour of `application`.
 */
const BASE = ['activity_id', 'category_uid', 'class_uid', 'metadata', 'severity_id', 'time', 'type_uid']
const REQUIRED: Readonly<Record<number, readonly string[]>> = {
  3002: ['user'],
  3004: ['entity'],
  3007: ['user'],
  6002: ['app'],
  6003: ['actor', 'api', 'src_endpoint'],
}
const ONE_OF: Readonly<Record<string, readonly string[]>> = {
  'user': ['account', 'name', 'uid'],
  'actor': ['process', 'user', 'session', 'application'],
  'actor.user': ['account', 'name', 'uid'],
  'src_endpoint': ['ip', 'uid', 'name', 'hostname', 'svc_name'],
  'entity': ['name', 'uid'],
  'metadata.product': ['name', 'uid'],
  'app': ['name', 'uid'],
}
const ACTIVITIES: Readonly<Record<number, readonly number[]>> = {
  3002: [1, 2, 3, 4, 5, 6, 7],
  3004: [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13],
  3007: [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17],
  6002: [1, 2, 3, 4, 5, 6, 7, 8],
  6003: [1, 2, 3, 4],
}

const at = (value: unknown, path: string): unknown =>
  path.split('.').reduce((inner, key) => (typeof inner === 'object' && inner !== null ? (inner as Record<string, unknown>)[key] : undefined), value)

/** What is wrong with an event, by the tables above. */
function faultsOf(event: Record<string, unknown>): string[] {
  const classUid = Number(event['class_uid'])
  const faults = [...BASE, ...(REQUIRED[classUid] ?? ['a known class'])].filter((name) => event[name] === undefined).map((name) => `${name} is missing`)
  for (const [path, names] of Object.entries(ONE_OF)) {
    const object = at(event, path)
    if (object !== undefined && !names.some((name) => at(object, name) !== undefined)) faults.push(`${path} has none of ${names.join(', ')}`)
  }
  const activity = Number(event['activity_id'])
  if (activity !== 99 && ACTIVITIES[classUid]?.includes(activity) !== true) faults.push(`activity ${String(activity)} is none of the class`)
  if (event['type_uid'] !== classUid * 100 + activity) faults.push('type_uid does not follow from class and activity')
  if (event['category_uid'] !== Math.floor(classUid / 1000)) faults.push('category_uid does not follow from the class')
  if (![1, 2, 3, 4, 5, 6].includes(Number(event['severity_id']))) faults.push('severity_id is none')
  if (![0, 1, 2, 99].includes(Number(event['status_id']))) faults.push('status_id is none')
  if (classUid === 3002 && event['service'] === undefined && event['dst_endpoint'] === undefined) faults.push('neither service nor dst_endpoint')
  if (classUid === 6003 && at(event, 'api.operation') === undefined) faults.push('api has no operation')
  if (at(event, 'metadata.version') !== '1.9.0') faults.push('metadata.version')
  return faults
}

function eventOf(operation: string, kind: EntryKind, more: Partial<EntryDraft> = {}): { readonly event: Record<string, unknown>; readonly entry: Entry } {
  const draft: EntryDraft = {
    ...{ kind, id: newOperationId(), operation, caller: { kind: 'officer', name: 'ann', id: 'o1', address: '192.0.2.7' } },
    ...(kind === 'outcome' || kind === 'refusal' ? { code: 'ok' } : {}),
    ...more,
  }
  const time = new Date('2026-11-26T12:00:00.123Z')
  const { bytes } = encodeEntry(draft, { time, writer: { slot: 1, epoch: 2, seq: 3 }, effect: 'durable', salt: () => new Uint8Array(16) })
  const entry = parseEntry(bytes)
  return { event: ocsfEvent({ index: 9, bytes, entry }, { origin: 'grid.example/audit', version: '0.1.0' }), entry }
}

describe('OCSF', () => {
  const operations = [...allOperations().map(({ name }) => name), ...PLACED_OPERATIONS, 'system.requests-failed-early', 'unknown']

  it('has what the schema requires, for every operation and kind of entry', () => {
    for (const operation of operations) {
      for (const kind of ['intent', 'outcome', 'item', 'refusal', 'event'] as const)
        expect(faultsOf(eventOf(operation, kind).event), `${operation} ${kind}`).toEqual([])
      const system = eventOf(operation, 'outcome', { caller: { kind: 'system', name: 'crl', id: 'urn:gridseal:system:crl' } })
      expect(faultsOf(system.event), `${operation} by the service`).toEqual([])
    }
  })

  it('finds what is missing: the tables of this test can fail', () => {
    const { event } = eventOf('kms.key.sign', 'outcome')
    for (const name of [...BASE, 'actor', 'api', 'src_endpoint']) expect(faultsOf({ ...event, [name]: undefined }), name).not.toEqual([])
    expect(faultsOf({ ...event, src_endpoint: {} })).toEqual(['src_endpoint has none of ip, uid, name, hostname, svc_name'])
    expect(faultsOf({ ...event, type_uid: 1 })).toHaveLength(1)
  })

  it('places no operation that is not there', () => {
    const known = new Set(allOperations().map(({ name }) => name))
    expect(PLACED_OPERATIONS.filter((name) => !known.has(name) && !name.startsWith('system.'))).toEqual([])
    for (const name of PLACED_OPERATIONS) {
      const { class: placed, activity } = ocsfPlaceOf(name)
      expect(Object.keys(OCSF_CLASSES[placed].activities), name).toContain(String(activity))
    }
    expect(ocsfPlaceOf('kms.key.sign')).toEqual({ class: 'apiActivity', activity: OTHER })
    expect(ocsfPlaceOf('constructor')).toEqual({ class: 'apiActivity', activity: OTHER })
  })

  it('tells as Read whatever an auditor asks of the log', () => {
    const asked = allOperations().filter(({ name, route }) => name.startsWith('policies.audit.') && route !== undefined)
    expect(asked.length).toBeGreaterThan(8)
    for (const { name } of asked) expect(ocsfPlaceOf(name), name).toEqual({ class: 'apiActivity', activity: 2 })
  })

  it('bears index, operation id and writer, and loses nothing of the entry', () => {
    const { event, entry } = eventOf('kms.key.generate', 'outcome', {
      facts: { public: { keyId: 'k1', label: 'meters' }, personal: { iccid: '89860012345678901238' } },
    })
    expect(event).toMatchObject({
      ...{ class_uid: 3004, type_uid: 300_401, time: Date.parse(entry.time), status_id: 1, severity_id: 1 },
      metadata: { sequence: 9, correlation_uid: entry.id, uid: 'grid.example/audit#9', event_code: 'kms.key.generate' },
      unmapped: { writer: { slot: 1, epoch: 2, seq: 3 }, facts: entry.facts, personal: entry.personal },
      entity: { type: 'key', uid: 'k1' },
    })
    expect(JSON.stringify(event)).not.toContain('89860012345678901238')
  })

  it.each([
    ['login-failed', 'policies.session.open', { class_uid: 3002, activity_id: 1, status_id: 2, severity_id: 3 }],
    ['integrity-failed', 'kms.key.sign', { class_uid: 6003, status_id: 2, severity_id: 5 }],
    ['hsm-unavailable', 'kms.key.sign', { status_id: 2, severity_id: 4 }],
    ['forbidden', 'kms.key.sign', { status_id: 2, severity_id: 2, status_code: 'forbidden' }],
    ['held', 'policies.grant.issue', { class_uid: 3007, activity_id: 14, status_id: 99, severity_id: 1 }],
  ] as const)('tells %s', (code, operation, expected) => {
    expect(eventOf(operation, 'refusal', { code }).event).toMatchObject(expected)
  })

  it('names whom it was done to', () => {
    const { event } = eventOf('policies.caller.revoke', 'outcome', { facts: { public: { subject: 'urn:gridseal:module:billing', callerId: 'm1' } } })
    expect(event).toMatchObject({ user: { uid: 'urn:gridseal:module:billing', name: 'billing' }, actor: { user: { name: 'ann' } } })
  })
})
