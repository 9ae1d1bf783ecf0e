import type { Attribute, Handle, PKCS11, Template } from 'pkcs11js'
import { KWP_CANDIDATES } from './mechanisms.ts'

export const CKO = { PUBLIC: 2, PRIVATE: 3, SECRET: 4 } as const

export const CKA = {
  CLASS: 0x0,
  TOKEN: 0x1,
  PRIVATE: 0x2,
  LABEL: 0x3,
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
  MODIFIABLE: 0x170,
  COPYABLE: 0x171,
  EC_PARAMS: 0x180,
  EC_POINT: 0x181,
  WRAP_WITH_TRUSTED: 0x210,
  ALLOWED_MECHANISMS: 0x40000600,
} as const

const USES = {
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
  readonly class: (typeof CKO)[keyof typeof CKO]
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
  /** Officer's session objects alone: lies open until its copy is private. Default false. */
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
  const mechanisms = allowed.length > 0 ? allowed : KWP_CANDIDATES
  const list = Buffer.alloc(8 * mechanisms.length)
  mechanisms.forEach((mechanism, at) => list.writeBigUInt64LE(BigInt(mechanism), 8 * at))
  return list
}

/** A key that is not what its template said: the token does not keep its word. */
export class AttributeError extends Error {
  override readonly name = 'AttributeError'
}

/** The complete template of a kind of keys, and the check that a key came out so. */
export class KeyForm {
  readonly spec: KeySpec
  readonly #kind: readonly (readonly [type: number, value: number | string])[]
  readonly #flags: readonly (readonly [type: number, value: Buffer])[]

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
    this.#flags = flags.map(([type, value]) => [type, typeof value === 'boolean' ? Buffer.from([value ? 1 : 0]) : value])
    this.#kind = [
      [CKA.CLASS, spec.class],
      [CKA.KEY_TYPE, spec.keyType],
      ...(spec.label === undefined ? [] : [[CKA.LABEL, spec.label] as const]),
    ]
  }

  /** A fresh template: pkcs11js writes into those it is given. */
  template(...more: readonly Attribute[]): Template {
    const template: Template = this.#kind.map(([type, value]) => ({ type, value }))
    template.push(...more)
    for (const [type, value] of this.#flags) template.push({ type, value })
    return template
  }

  /** Reads every flag back, in one call. Throws an {@link AttributeError} naming the first that differs. */
  assert(lib: PKCS11, session: Handle, key: Handle): void {
    const read = lib.C_GetAttributeValue(
      session,
      key,
      this.#flags.map(([type]) => ({ type })),
    )
    for (let at = 0; at < this.#flags.length; at++) {
      const [type, value] = this.#flags[at] as readonly [number, Buffer]
      const got = read[at]?.value as Buffer | undefined
      if (got === undefined || Buffer.compare(got, value) !== 0) {
        throw new AttributeError(`the token made a key whose attribute 0x${type.toString(16)} is not what was asked for`)
      }
    }
  }
}
