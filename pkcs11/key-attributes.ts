import type { KeyId } from '../core/ids.ts'
import type { TokenKeyAttributes } from './contract.ts'
import { cryptokiError } from './errors.ts'
import type { LaneKeys } from './lane-keys.ts'
import { CKK } from './mechanisms.ts'
import { CKA, CKO, type Use, USES } from './templates.ts'
import type { Token } from './token.ts'

const ATTRIBUTE_TYPE_INVALID = 0x12

const KEY_TYPES: Readonly<Record<number, string>> = {
  [CKK.RSA]: 'rsa',
  [CKK.EC]: 'ec',
  [CKK.GENERIC_SECRET]: 'generic-secret',
  [CKK.AES]: 'aes',
  [CKK.EC_EDWARDS]: 'ec-edwards',
}

/** What a token tells of a key that it holds, read now. Undefined where it has none of that name. No value of a key is among it. */
export function readKeyAttributes({ token }: LaneKeys, { keyId }: { readonly keyId: KeyId }): TokenKeyAttributes | undefined {
  const secret = token.find(CKO.SECRET, keyId)
  const key = secret ?? token.find(CKO.PRIVATE, keyId)
  if (key === undefined) return undefined
  const flag = (type: number): boolean | undefined => {
    const value = read(token, key, type)
    return value === undefined ? undefined : value[0] === 1
  }
  const keyType = read(token, key, CKA.KEY_TYPE)?.readUInt32LE(0) ?? -1
  return {
    serial: token.serial,
    label: token.label,
    class: secret === undefined ? 'private' : 'secret',
    keyType: KEY_TYPES[keyType] ?? `0x${keyType.toString(16)}`,
    flags: Object.fromEntries(
      Object.entries(FLAGS).flatMap(([name, type]) => {
        const value = flag(type)
        return value === undefined ? [] : [[name, value]]
      }),
    ),
    uses: (Object.keys(USES) as Use[]).filter((use) => flag(USES[use]) === true),
    mechanisms: mechanismsIn(read(token, key, CKA.ALLOWED_MECHANISMS)),
  }
}

/** CKA_*, by the names that PKCS#11 gives them. */
const FLAGS = {
  local: CKA.LOCAL,
  private: CKA.PRIVATE,
  sensitive: CKA.SENSITIVE,
  alwaysSensitive: CKA.ALWAYS_SENSITIVE,
  extractable: CKA.EXTRACTABLE,
  neverExtractable: CKA.NEVER_EXTRACTABLE,
  modifiable: CKA.MODIFIABLE,
  copyable: CKA.COPYABLE,
  wrapWithTrusted: CKA.WRAP_WITH_TRUSTED,
  trusted: CKA.TRUSTED,
} as const

/** Undefined for an attribute that this token or this class of keys has not. */
function read(token: Token, key: Parameters<Token['read']>[0], type: number): Buffer | undefined {
  try {
    return token.read(key, type)
  } catch (error) {
    if (cryptokiError(error)?.code === ATTRIBUTE_TYPE_INVALID) return undefined
    throw error
  }
}

/** CK_ULONGs of this machine. */
function mechanismsIn(list: Buffer | undefined): number[] {
  return Array.from({ length: (list?.length ?? 0) / 8 }, (_, at) => Number(list?.readBigUInt64LE(8 * at)))
}
