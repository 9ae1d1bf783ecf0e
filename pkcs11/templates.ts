import type { Attribute, Handle, PKCS11, Template } from 'pkcs11js'
import { KWP_CANDIDATES } from './mechanisms.ts'

export const CKO = { DATA: 0, PUBLIC: 2, PRIVATE: 3, SECRET: 4 } as const

export const CKA = {
  CLASS: 0x0,
  TOKEN: 0x1,
  PRIVATE: 0x2,
  LABEL: 0x3,
  APPLICATION: 0x10,
  VALUE: 0x11,
  TRUSTED: 0x86,
  KEY_TYPE: 0x100,
  SENSITIVE: 0x103,
  ENCRYPT: 0x104,
  DECRYPT: 0x105,
  WRAP: 0x106,
  UNWRAP: 0x107,
  SIGN: 0x108,
  VERIFY: 0x10a,
  DERIVE: 0x10c,
  MODULUS: 0x120,
  PUBLIC_EXPONENT: 0x122,
  VALUE_LEN: 0x161,
  EXTRACTABLE: 0x162,
  LOCAL: 0x163,
  NEVER_EXTRACTABLE: 0x164,
  ALWAYS_SENSITIVE: 0x165,
  MODIFIABLE: 0x170,
  COPYABLE: 0x171,
  EC_PARAMS: 0x180,
  EC_POINT: 0x181,
  WRAP_WITH_TRUSTED: 0x210,
  ALLOWED_MECHANISMS: 0x40000600,
} as const

/** The uses of a key, and the flag of each. */
export const USES = {
  encrypt: CKA.ENCRYPT,
  decrypt: CKA.DECRYPT,
  wrap: CKA.WRAP,
  unwrap: CKA.UNWRAP,
  sign: CKA.SIGN,
  verify: CKA.VERIFY,
  derive: CKA.DERIVE,
} as const
export type Use = keyof typeof USES

const USES_OF_CLASS: Readonly<Record<number, readonly Use[]>> = {
  [CKO.SECRET]: ['encrypt', 'decrypt', 'wrap', 'unwrap', 'sign', 'verify', 'derive'],
  [CKO.PRIVATE]: ['decrypt', 'unwrap', 'sign', 'derive'],
  [CKO.PUBLIC]: ['encrypt', 'wrap', 'verify', 'derive'],
}

/** What a key is and may do. Everything not said is refused by the template. */
export interface KeySpec {
  readonly class: (typeof CKO)[Exclude<keyof typeof CKO, 'DATA'>]
  readonly keyType: number
  readonly uses: readonly Use[]
  readonly mechanisms: readonly number[]
  /** A token object with this label. Absent: a session object. */
  readonly label?: string
  /** Default false. */
  readonly extractable?: boolean
  /** Leaves only under a TRUSTED key. Default false. */
  readonly wrapWithTrusted?: boolean
  /** `insecure`: its value can be read by whoever has the session. Default false. */
  readonly insecureReadable?: boolean
  /** Session objects of a ceremony alone: lies open in its process, and outlives a logout. Default false. */
  readonly insecurePublic?: boolean
  /** The original of a ceremony, which is copied with its final flags and destroyed. Default false. */
  readonly original?: boolean
  /** What such a copy keeps, because C_CopyObject does not take CKA_COPYABLE. Default: as `original`. */
  readonly copyable?: boolean
  /** Only the security officer may set it. */
  readonly trusted?: boolean
}

/** CKA_ALLOWED_MECHANISMS: CK_ULONGs of this machine. An empty list would mean any, so a key without a use gets one that it has no use for. */
const mechanismList = (allowed: readonly number[]): Buffer => {
  const mechanisms = [...(allowed.length > 0 ? allowed : KWP_CANDIDATES)].sort((a, b) => a - b) // SoftHSM answers them sorted
  const list = Buffer.alloc(8 * mechanisms.length)
  mechanisms.forEach((mechanism, at) => list.writeBigUInt64LE(BigInt(mechanism), 8 * at))
  return list
}

/** A key that is not what its template said: the token does not keep its word. */
export class AttributeError extends Error {
  override readonly name = 'AttributeError'
}

/** What keeps a value in the token: it cannot be read, and leaves not at all, or under a trusted key alone. */
const protectionOf = ({ extractable }: KeySpec): readonly number[] => [CKA.SENSITIVE, extractable === true ? CKA.WRAP_WITH_TRUSTED : CKA.EXTRACTABLE]

type Flag = readonly [type: number, value: Buffer]

/** The complete template of a kind of keys, and the check that a key came out so. */
export class KeyForm {
  readonly spec: KeySpec
  readonly #kind: readonly Attribute[]
  readonly #flags: readonly Attribute[]
  readonly #expected: readonly Flag[]
  readonly #protection: readonly Flag[]
  #proved = false

  /** `takesCopyable`: whether the token knows CKA_COPYABLE. */
  constructor(spec: KeySpec, takesCopyable: boolean) {
    this.spec = spec
    const original = spec.original === true
    const flags: (readonly [number, boolean | Buffer])[] = [
      [CKA.TOKEN, spec.label !== undefined],
      [CKA.PRIVATE, spec.class !== CKO.PUBLIC && spec.insecurePublic !== true],
      ...(takesCopyable ? [[CKA.COPYABLE, spec.copyable ?? original] as const] : []),
      ...(USES_OF_CLASS[spec.class] ?? []).map((use) => [USES[use], spec.uses.includes(use)] as const),
    ]
    if (spec.class !== CKO.PUBLIC) {
      flags.push([CKA.SENSITIVE, spec.insecureReadable !== true], [CKA.EXTRACTABLE, spec.extractable === true])
      flags.push([CKA.WRAP_WITH_TRUSTED, spec.wrapWithTrusted === true], [CKA.ALLOWED_MECHANISMS, mechanismList(spec.mechanisms)])
    }
    if (spec.trusted === true) flags.push([CKA.TRUSTED, true])
    flags.push([CKA.MODIFIABLE, original]) // last: SoftHSM takes a template in order, and nothing after this
    this.#expected = flags.map(([type, value]) => [type, typeof value === 'boolean' ? Buffer.from([value ? 1 : 0]) : value])
    this.#protection = this.#expected.filter(([type]) => protectionOf(spec).includes(type))
    this.#flags = flags.map(([type, value]) => Object.freeze({ type, value }))
    this.#kind = [
      Object.freeze({ type: CKA.CLASS, value: spec.class }),
      Object.freeze({ type: CKA.KEY_TYPE, value: spec.keyType }),
      ...(spec.label === undefined ? [] : [Object.freeze({ type: CKA.LABEL, value: spec.label })]),
    ]
  }

  /** A fresh template of frozen attributes: graphene edits those it is given. */
  template(...more: readonly Attribute[]): Template {
    return [...this.#kind, ...more, ...this.#flags]
  }

  /**
   * Reads a new key's flags back, in one call: of the first key of this form all, of every later one those that protect it (a full read costs as much as
   * making the key, and a token that takes the same template differently the second time is not a token). Throws an {@link AttributeError}.
   */
  assert(lib: PKCS11, session: Handle, key: Handle): void {
    const expected = this.#proved ? this.#protection : this.#expected
    if (expected.length === 0) return
    const read = lib.C_GetAttributeValue(
      session,
      key,
      expected.map(([type]) => ({ type })),
    )
    for (let at = 0; at < expected.length; at++) {
      const [type, value] = expected[at] as Flag
      const got = read[at]?.value
      if (got === undefined || Buffer.compare(got, value) !== 0) {
        throw new AttributeError(`the token made a key whose attribute 0x${type.toString(16)} is not what was asked for`)
      }
    }
    this.#proved = true
  }
}
