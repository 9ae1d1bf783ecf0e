import type { KeyId } from '../core/ids.ts'
import { type RootKeyIdentity, SYSTEM_KEYS, type TokenIdentity } from './root-keys.ts'

/** The root keys that are replaced while the service runs, each by its next generation. What signs is replaced by other ceremonies, or by certificates. */
export const ROTATED_KEYS = { 'storage-kek': SYSTEM_KEYS.storageKek, 'row-mac': SYSTEM_KEYS.rowMac, 'group-mac': SYSTEM_KEYS.groupMac } as const
export type RotatedKey = keyof typeof ROTATED_KEYS
export const ROTATED_KEY_NAMES = Object.keys(ROTATED_KEYS) as readonly RotatedKey[]

/** One of the keys that serve a purpose one after the other. The label of a key that is not modifiable stays: the first has none of a number, its successor `-2`. */
export interface Generation {
  readonly key: RotatedKey
  /** From 1. */
  readonly number: number
}

/** `root:storage-kek`, `root:storage-kek-2` ... */
export const generationId = ({ key, number }: Generation): KeyId => (number === 1 ? ROTATED_KEYS[key] : (`${ROTATED_KEYS[key]}-${number}` as KeyId))

/** The inverse of {@link generationId}; undefined for every other id. */
export function parseGeneration(id: string): Generation | undefined {
  for (const key of ROTATED_KEY_NAMES) {
    if (id === ROTATED_KEYS[key]) return { key, number: 1 }
    const number = id.startsWith(`${ROTATED_KEYS[key]}-`) ? /^[1-9]\d{0,5}$/.exec(id.slice(ROTATED_KEYS[key].length + 1))?.[0] : undefined
    if (number !== undefined && number !== '1') return { key, number: Number(number) }
  }
  return undefined
}

export type SecretIdentity = Extract<RootKeyIdentity, { readonly algorithm: 'aes-256' }>

/**
 * Which generations the service works with. Of each key exactly one is current: what is made new is made with it. The older ones still open and check what is
 * under them. A key of the token that is not here is used for nothing.
 */
export interface GenerationsInUse {
  /** Grows with every change of what the database has recorded of generations. */
  readonly number: number
  readonly keys: readonly { readonly identity: SecretIdentity; readonly isCurrent: boolean }[]
}

/** What of a token must be there while these generations are in use: a key that is being made, or that is retired, is neither missed nor used. */
export const identityInUse = (identity: TokenIdentity, { keys }: GenerationsInUse): TokenIdentity => ({
  ...identity,
  keys: [...identity.keys.filter(({ keyId }) => parseGeneration(keyId) === undefined), ...keys.map((key) => key.identity)].sort((a, b) =>
    a.keyId < b.keyId ? -1 : 1,
  ),
})
