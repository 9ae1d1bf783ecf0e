import { hex } from '../../../core/bytes.ts'
import { callerUrn } from '../../caller.ts'
import type { Entry } from '../entry.ts'
import type { FactValue } from '../log.ts'
import { leafHash } from '../merkle.ts'
import type { FoundEntry } from '../reader.ts'
import { type Weight, weightOf } from '../weight.ts'
import { OCSF_CLASSES, type OcsfClassName, OCSF_VERSION, ocsfPlaceOf, OTHER, verbOf } from './ocsf-classes.ts'

/** Entries as events of OCSF 1.9.0, one JSON object each. What the schema has no attribute for stands in `unmapped`, so that nothing of the entry is lost. Pure. */

export interface OcsfSource {
  /** The log's name. */
  readonly origin: string
  /** Of the product. */
  readonly version: string
}

const SEVERITIES = { informational: 1, low: 2, medium: 3, high: 4, critical: 5 } as const satisfies Record<Weight, number>

export function ocsfEvent(found: FoundEntry, source: OcsfSource): Record<string, unknown> {
  const { index, bytes, entry } = found
  const place = ocsfPlaceOf(entry.operation)
  const { uid, name, activities } = OCSF_CLASSES[place.class]
  const { code } = entry
  const status = statusOf(entry)
  return {
    class_uid: uid,
    class_name: name,
    category_uid: Math.trunc(uid / 1000),
    activity_id: place.activity,
    activity_name: place.activity === OTHER ? verbOf(entry.operation) : (activities as Readonly<Record<number, string>>)[place.activity],
    type_uid: uid * 100 + place.activity,
    severity_id: SEVERITIES[weightOf(entry)],
    time: Date.parse(entry.time),
    status_id: status.id,
    status: status.name,
    ...(code === undefined ? {} : { status_code: code }),
    message: `${entry.kind} of ${entry.operation}${code === undefined ? '' : ` (${code})`} by ${callerUrn(entry.caller)}`,
    metadata: {
      version: OCSF_VERSION,
      uid: `${source.origin}#${index}`,
      sequence: index,
      correlation_uid: entry.id,
      event_code: entry.operation,
      log_name: source.origin,
      original_time: entry.time,
      product: { name: 'Gridseal', uid: 'gridseal', vendor_name: 'Gridseal', version: source.version },
    },
    ...ATTRIBUTES[place.class](entry, source),
    unmapped: unmappedOf(entry, bytes),
  }
}

/** `intent`: nobody knows yet. */
function statusOf({ kind, code }: Entry): { readonly id: number; readonly name: string } {
  if (kind === 'intent') return { id: 0, name: 'Unknown' }
  if (code === 'held') return { id: OTHER, name: 'Held' }
  return code === undefined || code === 'ok' ? { id: 1, name: 'Success' } : { id: 2, name: 'Failure' }
}

const actorOf = ({ caller }: Entry): object => ({ user: { name: caller.name, uid: callerUrn(caller), type: caller.kind, type_id: userType(caller.kind) } })

/** 1: a person; 3: the service itself; 4: another program. */
const userType = (kind: string): number => (kind === 'system' ? 3 : kind === 'module' || kind === 'vendor' ? 4 : kind === 'anonymous' ? 0 : 1)

const endpointOf = ({ caller }: Entry): object => (caller.address === undefined ? { name: callerUrn(caller) } : { ip: caller.address })

const SERVICE = { name: 'Gridseal', uid: 'gridseal' }

/** What the class asks for beside what all have. */
const ATTRIBUTES: Readonly<Record<OcsfClassName, (entry: Entry, source: OcsfSource) => object>> = {
  authentication: (entry) => ({ actor: actorOf(entry), user: subjectOf(entry), src_endpoint: endpointOf(entry), service: SERVICE, is_remote: true }),
  userManagement: (entry) => ({ actor: actorOf(entry), user: subjectOf(entry), src_endpoint: endpointOf(entry) }),
  entityManagement: (entry) => ({ actor: actorOf(entry), entity: entityOf(entry), src_endpoint: endpointOf(entry) }),
  // `app` is required, and deprecated: who reads 1.9.0 looks at `application`.
  applicationLifecycle: (_entry, { version }) => ({
    app: { ...SERVICE, vendor_name: 'Gridseal', version },
    application: { ...SERVICE },
  }),
  apiActivity: (entry) => ({
    actor: actorOf(entry),
    api: { operation: entry.operation, request: { uid: entry.id }, service: SERVICE },
    src_endpoint: endpointOf(entry),
    ...(entry.uses === undefined ? {} : { resources: entry.uses.map(({ action, keyId }) => ({ uid: keyId, type: 'key', labels: [action] })) }),
  }),
}

/** Whom it was done to: where the entry names nobody, who did it. */
function subjectOf(entry: Entry): object {
  const facts = entry.facts ?? {}
  const urn = textOf(facts['subject']) ?? firstOf(facts['callers'])
  const uid = textOf(facts['callerId']) ?? textOf(facts['personId'])
  const found = urn ?? uid
  if (found === undefined) return { name: entry.caller.name, uid: callerUrn(entry.caller) }
  return { uid: found, ...(urn === undefined ? {} : { name: urn.slice(urn.lastIndexOf(':') + 1) }) }
}

/** What it was done to: its kind is the thing in the operation's name. */
function entityOf(entry: Entry): object {
  const thing = entry.operation.split('.').at(-2) ?? entry.operation
  const facts = entry.facts ?? {}
  const ids = [`${camel(thing)}Id`, 'keyId', 'serial', 'revision', 'authority', 'purpose', 'key', 'newKey']
  const uid = ids.map((id) => textOf(facts[id])).find((one) => one !== undefined) ?? entry.rows?.[0]?.id
  return { name: thing, type: thing, ...(uid === undefined ? {} : { uid }) }
}

const textOf = (value: FactValue | undefined): string | undefined => (typeof value === 'string' ? value : undefined)
const firstOf = (value: FactValue | undefined): string | undefined => (Array.isArray(value) ? (value as readonly string[])[0] : undefined)
const camel = (thing: string): string => thing.replaceAll(/-(\w)/g, (_all, letter: string) => letter.toUpperCase())

function unmappedOf(entry: Entry, bytes: Uint8Array): object {
  const { kind, effect, parent, writer, caller, decision, uses, facts, personal, rows } = entry
  return { kind, effect, parent, writer, caller, decision, uses, facts, personal, rows, leaf: hex(leafHash(bytes)) }
}
