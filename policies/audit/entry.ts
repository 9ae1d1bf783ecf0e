import { base64url, equalBytes, fromUtf8, sha256, utf8 } from '../../core/bytes.ts'
import { type OperationId, UUID_PATTERN } from '../../core/ids.ts'
import type { RowDigest } from '../../core/row.ts'
import type { Caller } from '../caller.ts'
import type { KeyUse } from '../permit.ts'
import type { EntryDraft, EntryKind, FactValue } from './log.ts'

/** Entry format v1. docs/audit-log.md binds; an entry is hashed as it was written and never made again from columns. Pure. */

/** C2SP tlog-tiles gives an entry's length two bytes. */
export const MAX_ENTRY_BYTES = 65_535

/** Who wrote an entry, and its number: writer and epoch as the database gave them, `seq` counted from 0 without gaps. */
export interface WriterPosition {
  readonly slot: number
  readonly epoch: number
  readonly seq: number
}

/** A personal value as it stands in the entry. */
export interface Commitment {
  /** base64url(SHA-256(salt || name || 00 || value)); the salt has 16 random bytes. */
  readonly commitment: string
  /** Of an ICCID: its first 7 digits (89, country, issuer). */
  readonly prefix?: string
}

export interface Entry {
  readonly v: 1
  readonly kind: EntryKind
  /** Only on outcomes. `durable` closed an intent; `transient` had none. */
  readonly effect?: 'durable' | 'transient'
  readonly id: OperationId
  readonly parent?: OperationId
  /** RFC 3339, UTC, milliseconds: the writer's clock. */
  readonly time: string
  readonly writer: WriterPosition
  readonly operation: string
  readonly caller: Caller
  readonly decision?: NonNullable<EntryDraft['decision']>
  readonly uses?: readonly KeyUse[]
  readonly code?: string
  readonly facts?: Readonly<Record<string, FactValue>>
  readonly personal?: Readonly<Record<string, Commitment>>
  readonly rows?: readonly RowDigest[]
}

/** A personal value with the salt that opens its commitment: a row of the erasable table. */
export interface PersonalValue {
  readonly name: string
  readonly value: string
  /** 16 random bytes. */
  readonly salt: Uint8Array
}

/** An entry that cannot be written as it is: too long, or with a value that has no place in it. A fault of the operation that made it. */
export class EntryError extends Error {
  override readonly name = 'EntryError'
}

export const commitmentOf = ({ name, value, salt }: PersonalValue): string => base64url(sha256(salt, utf8(name), Uint8Array.of(0), utf8(value)))

/** Names of facts. Not numbers, which JSON parsers reorder. */
const FACT_NAME = /^[A-Za-z][A-Za-z0-9_.-]{0,63}$/
// biome-ignore lint/suspicious/noControlCharactersInRegex: they have no place in names, and PostgreSQL text cannot hold NUL.
const PLAIN = /^[^\u0000-\u001f\u007f\ud800-\udfff]{1,256}$/u

export interface EncodedEntry {
  readonly bytes: Uint8Array
  readonly personal: readonly PersonalValue[]
}

/** Makes the bytes of an entry. `salt` gives 16 new random bytes at each call. Throws an {@link EntryError}; an entry is never cut. */
export function encodeEntry(
  draft: EntryDraft,
  at: { readonly time: Date; readonly writer: WriterPosition; readonly effect: 'durable' | 'transient'; readonly salt: () => Uint8Array },
): EncodedEntry {
  const { kind, id, parent, operation, caller, decision, uses, code, facts } = draft
  if (!UUID_PATTERN.test(id) || (parent !== undefined && !UUID_PATTERN.test(parent))) throw new EntryError(`an id of an entry of ${operation} is not a UUID`)
  for (const text of [operation, caller.kind, caller.name, caller.id, code ?? 'none']) {
    if (!PLAIN.test(text)) throw new EntryError(`a name in an entry of ${JSON.stringify(operation)} is empty, over 256 characters or not plain text`)
  }
  if ((kind === 'outcome' || kind === 'refusal') && code === undefined) throw new EntryError(`an ${kind} of ${operation} has no code`)

  const personal = sorted(facts?.personal).map(([name, value]): PersonalValue => {
    if (value.includes('\u0000')) throw new EntryError(`the personal value ${name} of ${operation} has a NUL`)
    return { name, value, salt: at.salt() }
  })
  const publicFacts = sorted(facts?.public)
  for (const [name, value] of publicFacts) {
    if (typeof value === 'number' && !Number.isFinite(value)) throw new EntryError(`the fact ${name} of ${operation} is not a finite number`)
  }

  // The order of keys is the format's. JSON.stringify leaves out what is undefined.
  const entry = {
    v: 1,
    kind,
    effect: kind === 'outcome' ? at.effect : undefined,
    id,
    parent,
    time: at.time.toISOString(),
    writer: { slot: at.writer.slot, epoch: at.writer.epoch, seq: at.writer.seq },
    operation,
    caller: { kind: caller.kind, name: caller.name, id: caller.id, certificate: caller.certificate, address: caller.address },
    decision: decision && {
      ...{ effect: decision.effect, rule: decision.rule, revision: decision.revision, at: decision.at },
      ...{ listener: decision.listener, strength: decision.strength, admittedUntil: decision.admittedUntil },
      zones: decision.zones && decision.zones.length > 0 ? decision.zones : undefined,
      added: decision.added && decision.added.length > 0 ? decision.added : undefined,
    },
    uses: uses && uses.length > 0 ? uses.map(({ action, keyId }) => ({ action, keyId })) : undefined,
    code,
    facts: publicFacts.length > 0 ? Object.fromEntries(publicFacts) : undefined,
    personal: personal.length > 0 ? Object.fromEntries(personal.map((one) => [one.name, { commitment: commitmentOf(one), prefix: prefixOf(one) }])) : undefined,
    rows: facts?.rows && facts.rows.length > 0 ? facts.rows.map(({ table, id: row, version, digest }) => ({ table, id: row, version, digest })) : undefined,
  }
  const bytes = utf8(JSON.stringify(entry))
  if (bytes.length > MAX_ENTRY_BYTES) {
    throw new EntryError(
      `an entry of ${operation} would have ${bytes.length} bytes of at most ${MAX_ENTRY_BYTES}: put the Merkle root of its list in place of the list`,
    )
  }
  return { bytes, personal }
}

/** Reads an entry. Throws an {@link EntryError} on bytes that {@link encodeEntry} cannot have written: unknown version, other order, doubled keys. */
export function parseEntry(bytes: Uint8Array): Entry {
  if (bytes.length > MAX_ENTRY_BYTES) throw new EntryError('the entry is too long')
  const text = fromUtf8(bytes)
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch (error) {
    throw new EntryError('the entry is not JSON', { cause: error })
  }
  // What is deeper is none, on any machine: JSON.stringify takes as much as its stack does.
  if (!isShallow(value, MAX_DEPTH)) throw new EntryError('the entry is nested too deep')
  // One value has one text. It also refuses doubled keys (a parser would show only the last) and invalid UTF-8.
  if (!isRecord(value) || JSON.stringify(value) !== text || !equalBytes(utf8(text), bytes)) throw new EntryError('the entry is not in canonical form')
  if (value['v'] !== 1) throw new EntryError('the entry is of another version')
  if (!hasForm(value)) throw new EntryError('the entry is not of the form of version 1')
  return value
}

const KEYS = ['v', 'kind', 'effect', 'id', 'parent', 'time', 'writer', 'operation', 'caller', 'decision', 'uses', 'code', 'facts', 'personal', 'rows']
const KINDS: ReadonlySet<unknown> = new Set<EntryKind>(['intent', 'outcome', 'item', 'refusal', 'event'])
const TIME = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/

function hasForm(value: Record<string, unknown>): value is Record<string, unknown> & Entry {
  const writer = value['writer']
  const caller = value['caller']
  return (
    inOrder(Object.keys(value), KEYS) &&
    KINDS.has(value['kind']) &&
    (value['kind'] === 'outcome' ? value['effect'] === 'durable' || value['effect'] === 'transient' : value['effect'] === undefined) &&
    typeof value['id'] === 'string' &&
    UUID_PATTERN.test(value['id']) &&
    (value['parent'] === undefined || (typeof value['parent'] === 'string' && UUID_PATTERN.test(value['parent']))) &&
    typeof value['time'] === 'string' &&
    TIME.test(value['time']) &&
    isRecord(writer) &&
    inOrder(Object.keys(writer), ['slot', 'epoch', 'seq']) &&
    [writer['slot'], writer['epoch'], writer['seq']].every((one) => Number.isSafeInteger(one) && Number(one) >= 0) &&
    isPlain(value['operation']) &&
    isRecord(caller) &&
    inOrder(Object.keys(caller), ['kind', 'name', 'id', 'certificate', 'address']) &&
    [caller['kind'], caller['name'], caller['id']].every(isPlain) &&
    (value['code'] === undefined || isPlain(value['code'])) &&
    ['decision', 'facts', 'personal'].every((key) => value[key] === undefined || isRecord(value[key])) &&
    ['uses', 'rows'].every((key) => value[key] === undefined || Array.isArray(value[key]))
  )
}

/** Objects and lists inside each other; the format has 3. */
const MAX_DEPTH = 16
const isShallow = (value: unknown, left: number): boolean =>
  typeof value !== 'object' || value === null || (left > 0 && Object.values(value).every((inner) => isShallow(inner, left - 1)))

const isRecord = (value: unknown): value is Record<string, unknown> => typeof value === 'object' && value !== null && !Array.isArray(value)
const isPlain = (value: unknown): boolean => typeof value === 'string' && PLAIN.test(value)

/** Whether the keys are some of `allowed`, in that order. */
function inOrder(keys: readonly string[], allowed: readonly string[]): boolean {
  let at = -1
  for (const key of keys) {
    const next = allowed.indexOf(key, at + 1)
    if (next < 0) return false
    at = next
  }
  return true
}

/** The pairs in the order of their names (UTF-16 code units). */
function sorted<Value>(record: Readonly<Record<string, Value>> | undefined): [string, Value][] {
  const pairs = Object.entries(record ?? {}).filter(([, value]) => value !== undefined)
  for (const [name] of pairs) if (!FACT_NAME.test(name)) throw new EntryError(`the name of a fact is not allowed: ${JSON.stringify(name)}`)
  return pairs.sort(([a], [b]) => (a < b ? -1 : 1))
}

/** Of an ICCID (ITU-T E.118), what names the issuer and not the card. */
const prefixOf = ({ name, value }: PersonalValue): string | undefined =>
  /^(.*I|i)ccid$/.test(name) && /^\d{18,20}$/.test(value) ? value.slice(0, 7) : undefined
