import { equalBytes } from '../core/bytes.ts'
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
  /** Signs statements of keys, and which evidence pack was made: documents of two types, and nothing else. */
  statement: 'root:statement' as KeyId,
  /** Signs which policy is in force and nothing else. */
  policy: 'root:policy' as KeyId,
} as const
export type RootKeyId = (typeof ROOT_KEYS)[keyof typeof ROOT_KEYS]

/** The system's own keys in the token; no operation can name them. */
export const SYSTEM_KEYS = {
  storageKek: 'root:storage-kek' as KeyId,
  rowMac: 'root:row-mac' as KeyId,
  groupMac: 'root:group-mac' as KeyId,
  blindIndex: 'root:blind-index' as KeyId,
  checkpoint: 'root:checkpoint' as KeyId,
  /** HMAC-SHA-256 over what people log in with. Never rotated: nobody could log in any more. */
  pepper: 'root:pepper' as KeyId,
  /** Only in a token whose keys are backed up. It is no part of the token's identity: a restored token may be without. */
  backupKek: 'root:backup-kek' as KeyId,
} as const

/** In the token that can restore: an RSA-3072 pair that unwraps the backup KEK of another token, and nothing else. */
export const BACKUP_RECIPIENT = 'root:backup-recipient' as KeyId

/** AES-256 keys that MAC, each its own things: the first generation of those that are rotated. */
export const MAC_KEYS: readonly KeyId[] = [SYSTEM_KEYS.rowMac, SYSTEM_KEYS.groupMac, SYSTEM_KEYS.blindIndex]
/** P-256 keys, each for its own signatures. */
export const SIGNING_KEYS: readonly KeyId[] = Object.values(ROOT_KEYS)

/**
 * Root keys that came with a later version. A token from before it is whole but for them, and `gridseal token complete` adds those that were never recorded: nothing
 * is under them yet.
 */
export const LATER_ROOT_KEYS: readonly KeyId[] = [ROOT_KEYS.policy, SYSTEM_KEYS.pepper]

/** Whether a token that lacks these root keys is one from before they came. */
export const isFromBefore = (missing: readonly KeyId[]): boolean => missing.length > 0 && missing.every((id) => LATER_ROOT_KEYS.includes(id))

/** What a token lacks, and what to do where that can be told. */
export const lackingKeys = (missing: readonly KeyId[]): string =>
  `the token lacks ${missing.join(', ')}${isFromBefore(missing) ? ': keys that came with a later version. While the service is stopped they are added by: gridseal token complete' : ''}`

/** A root key, as the database remembers it. `aes-kwp`: AES-KWP(key, 00 * 16), first 5 bytes, of a key that can only wrap. */
export type RootKeyIdentity =
  | { readonly keyId: KeyId; readonly algorithm: 'ec-p256' | 'ed25519'; readonly publicKey: Uint8Array /* SPKI DER */ }
  | { readonly keyId: KeyId; readonly algorithm: 'aes-256'; readonly kcv: { readonly method: KcvMethod | 'aes-kwp'; readonly value: Uint8Array } }
  | { readonly keyId: KeyId; readonly algorithm: 'hmac-sha256'; readonly kcv: { readonly method: 'hmac-sha256'; readonly value: Uint8Array } }

/** Which token this is, and that its root keys are what they were. */
export interface TokenIdentity {
  readonly serial: string
  readonly label: string
  /** In the order of their ids. */
  readonly keys: readonly RootKeyIdentity[]
}

/** What is known of a token, and what of it may differ while a ceremony is under way. */
export interface KnownIdentity extends Pick<TokenIdentity, 'serial' | 'keys'> {
  /** Of `keys`, which is about to be destroyed: it may be gone. */
  readonly leaving?: readonly KeyId[]
  /** Which is being made: it may be there, and nobody has recorded it. */
  readonly coming?: readonly KeyId[]
  /** Which was destroyed, and must not be there. */
  readonly retired?: readonly KeyId[]
}

/** Why a token is not the one that is known: another one, an old one, a clone, or with a root key that was replaced. Undefined where it is. */
export function identityFault(known: KnownIdentity, found: TokenIdentity): string | undefined {
  if (found.serial !== known.serial) return `This is token ${found.serial}, and not token ${known.serial}.`
  const missing = new Map(known.keys.map((key) => [key.keyId, key]))
  for (const key of found.keys) {
    if (known.retired?.includes(key.keyId) === true) return `The root key ${key.keyId} was retired, and is in the token again.`
    const before = missing.get(key.keyId)
    if (before === undefined && known.coming?.includes(key.keyId) === true) continue
    if (before === undefined)
      return `The root key ${key.keyId} was never recorded.${LATER_ROOT_KEYS.includes(key.keyId) ? ' Where it was being added: gridseal token complete.' : ''}`
    if (!isSame(before, key)) return `The root key ${key.keyId} is another one than was recorded.`
    missing.delete(key.keyId)
  }
  const gone = [...missing.keys()].find((keyId) => known.leaving?.includes(keyId) !== true)
  return gone === undefined ? undefined : `The root key ${gone} is not in the token any more.`
}

export function isSame(a: RootKeyIdentity, b: RootKeyIdentity): boolean {
  if (a.algorithm !== b.algorithm) return false
  if ('publicKey' in a) return 'publicKey' in b && equalBytes(a.publicKey, b.publicKey)
  return 'kcv' in b && a.kcv.method === b.kcv.method && equalBytes(a.kcv.value, b.kcv.value)
}
