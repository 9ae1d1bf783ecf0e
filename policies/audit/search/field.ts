import { callerUrn } from '../../caller.ts'
import { parseAddress, parseNetwork } from '../../firewall/network.ts'
import type { Entry } from '../entry.ts'

/** What entries are found by: the one table behind the index, the JSON form, the textual form and the documents. Pure. */
export interface Field {
  /** In the index. Never changed, and never given to another field: stored rows have it. */
  readonly number: number
  /** For people: what it is of an entry. */
  readonly about: string
  readonly example: string
  /** Whether `*` and `?` stand for characters. */
  readonly patterns?: true
  /** Whether entries can be counted by it: it has few values. */
  readonly groups?: true
  /** What the entry is found by. Some may stand twice, and some be no {@link isValue}: those are not indexed. */
  of(entry: Entry): readonly string[]
}

const optional = (value: string | undefined): readonly string[] => (value === undefined ? [] : [value])

export const FIELDS = {
  caller: {
    ...{ number: 1, about: 'who asked, as its URN', example: 'urn:gridseal:module:billing', patterns: true, groups: true },
    of: ({ caller }) => [callerUrn(caller)],
  },
  role: {
    ...{ number: 2, about: 'the kind of caller: vendor, module, officer, auditor, business, person, anonymous, system', example: 'officer', groups: true },
    of: ({ caller }) => [caller.kind],
  },
  zone: {
    ...{
      number: 3,
      about: 'a zone that the request came from. Entries from before zones were recorded have none',
      example: 'internet',
      patterns: true,
      groups: true,
    },
    of: ({ decision }) => (Array.isArray(decision?.zones) ? decision.zones : []),
  },
  address: {
    ...{ number: 4, about: 'the address that the connection came from, or a network that it lies in', example: '192.0.2.0/24' },
    of: ({ caller }) => {
      const at = caller.address === undefined ? undefined : parseAddress(caller.address)
      return at === undefined ? [] : [addressTerm(at), networkTerm(at)]
    },
  },
  operation: {
    ...{ number: 5, about: 'the name of the operation, or of an event', example: 'kms.key.*', patterns: true, groups: true },
    of: ({ operation }) => [operation],
  },
  object: {
    ...{ number: 6, about: 'what it was about: the id of a key, order, caller, grant, session ..., or the serial number of a certificate' },
    ...{ example: '0198f2c1-7a40-7c3e-9d52-6a1f0b2c3d4f' },
    of: (entry) => objectsOf(entry),
  },
  code: { number: 7, about: 'how it ended: ok, or the code of the problem', example: 'forbidden', groups: true, of: ({ code }) => optional(code) },
  kind: { number: 8, about: 'intent, outcome, item, refusal or event', example: 'refusal', groups: true, of: ({ kind }) => [kind] },
  rule: {
    ...{ number: 9, about: 'the rule that decided, or grant: and the id of a grant', example: 'internet-nobody', patterns: true, groups: true },
    of: ({ decision }) => optional(decision?.rule),
  },
  revision: {
    ...{ number: 10, about: 'the revision of the policy that decided', example: '0123456789abcdef', groups: true },
    of: ({ decision }) => optional(decision?.revision),
  },
  parent: {
    ...{ number: 11, about: 'the id of the operation that it was nested in', example: '0198f2c1-7a40-7c3e-9d52-6a1f0b2c3d4e' },
    of: ({ parent }) => optional(parent),
  },
} as const satisfies Readonly<Record<string, Field>>

export type FieldName = keyof typeof FIELDS
export const FIELD_NAMES = Object.keys(FIELDS) as readonly FieldName[]
export const fieldOf = (name: FieldName): Field => FIELDS[name]
const named = (has: (field: Field) => boolean): readonly FieldName[] => FIELD_NAMES.filter((name) => has(fieldOf(name)))
export const PATTERN_FIELDS = named(({ patterns }) => patterns === true)
export const GROUP_FIELDS = named(({ groups }) => groups === true)

export const isFieldName = (name: string): name is FieldName => Object.hasOwn(FIELDS, name)

/** What can be looked for: at most 256 characters. What is longer, or not plain text, is found by nothing. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: PostgreSQL text cannot hold NUL, and the others have no place in names.
const VALUE = /^[^\u0000-\u001f\u007f\ud800-\udfff]{1,256}$/u

export const isValue = (text: unknown): text is string => typeof text === 'string' && VALUE.test(text)

/** An id by its form: a UUID, a URN of a caller, a serial number or fingerprint, a grant as a rule. */
const ID = /^([0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|urn:gridseal:\S+|[0-9a-f]{16,128}|grant:[0-9a-f-]{36}|(root|master|transport|hardware):\S+)$/
/** Facts that name a thing, whatever the form. */
const NAMES_A_THING = /(^|[a-z.])(I|i)ds?$|^(key|order|vendor|profile|serial|serials|hold|grant|authority|transportKey)$/

function objectsOf({ uses = [], facts = {}, rows = [] }: Entry): readonly string[] {
  const found: unknown[] = []
  for (const use of uses) found.push(use.keyId)
  for (const row of rows) found.push(row.id)
  for (const name of Object.keys(facts)) {
    const value = facts[name]
    const isName = NAMES_A_THING.test(name)
    for (const one of Array.isArray(value) ? (value as readonly unknown[]) : [value]) if (typeof one === 'string' && (isName || ID.test(one))) found.push(one)
  }
  return found.filter((one): one is string => typeof one === 'string')
}

/** An address as its place on the line of addresses, in 33 hex digits: a network is a range of them. */
const addressTerm = (at: bigint): string => at.toString(16).padStart(33, '0')

const IPV4_END = 1n << 32n
/** Addresses of the networks that each address is found by as well: /24 of IPv4, /48 of IPv6. A wide network is a range of those, and so of fewer values. */
const widthAt = (at: bigint): bigint => (at < IPV4_END ? 1n << 8n : 1n << 80n)
const networkTerm = (at: bigint): string => `n${addressTerm(at - ((at < IPV4_END ? at : at - IPV4_END) % widthAt(at)))}`

/** A range of terms, both ends in it, by the bytes of their UTF-8. */
export interface TermRange {
  readonly first: string
  readonly last: string
}

/** The terms that an address or network (`192.0.2.0/24`) is looked for by; undefined for what is neither. */
export function addressRange(text: string): TermRange | undefined {
  const at = parseAddress(text)
  if (at !== undefined) return { first: addressTerm(at), last: addressTerm(at) }
  const network = parseNetwork(text)
  if (network === undefined) return undefined
  const { first, last } = network
  return last - first + 1n < widthAt(first) ? { first: addressTerm(first), last: addressTerm(last) } : { first: networkTerm(first), last: networkTerm(last) }
}
