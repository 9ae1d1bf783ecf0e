import type { KeyId } from '../core/ids.ts'
import type { KcvMethod } from './kcv.ts'

/** Keys in the token that operations may name; each serves one purpose. */
export const ROOT_KEYS = {
  root: 'root:ca-root' as KeyId,
  callers: 'root:ca-callers' as KeyId,
  cards: 'root:ca-cards' as KeyId,
  delivery: 'root:delivery' as KeyId,
  /** Signs results of attestation (EAR) and nothing else. */
  result: 'root:result' as KeyId,
} as const
export type RootKeyId = (typeof ROOT_KEYS)[keyof typeof ROOT_KEYS]

/** The system's own keys in the token; no operation can name them. */
export const SYSTEM_KEYS = {
  storageKek: 'root:storage-kek' as KeyId,
  rowMac: 'root:row-mac' as KeyId,
  groupMac: 'root:group-mac' as KeyId,
  blindIndex: 'root:blind-index' as KeyId,
  checkpoint: 'root:checkpoint' as KeyId,
} as const

/** AES-256 keys that MAC, each its own things. */
export const MAC_KEYS: readonly KeyId[] = [SYSTEM_KEYS.rowMac, SYSTEM_KEYS.groupMac, SYSTEM_KEYS.blindIndex]
/** P-256 keys, each for its own signatures. */
export const SIGNING_KEYS: readonly KeyId[] = Object.values(ROOT_KEYS)

/** A root key, as the database remembers it. `aes-kwp`: AES-KWP(key, 00 * 16), first 5 bytes, of a key that can only wrap. */
export type RootKeyIdentity =
  | { readonly keyId: KeyId; readonly algorithm: 'ec-p256' | 'ed25519'; readonly publicKey: Uint8Array /* SPKI DER */ }
  | { readonly keyId: KeyId; readonly algorithm: 'aes-256'; readonly kcv: { readonly method: KcvMethod | 'aes-kwp'; readonly value: Uint8Array } }

/** Which token this is, and that its root keys are what they were. */
export interface TokenIdentity {
  readonly serial: string
  readonly label: string
  /** In the order of their ids. */
  readonly keys: readonly RootKeyIdentity[]
}
