import type { RowSealer } from '../core/row.ts'

/**
 * What the system itself does with its keys, and nothing else: no method takes a key id, and their keys serve nothing else.
 * They are counted in metrics and not logged singly.
 */
export interface Integrity extends RowSealer {
  /** AES-CMAC by the group-MAC key, 16 bytes. */
  macGroup(message: Uint8Array): Promise<Uint8Array>
  /** Whether each MAC is the group-MAC key's over its message. */
  checkGroups(groups: readonly { readonly message: Uint8Array; readonly mac: Uint8Array }[]): Promise<boolean[]>
  /** The checkpoint key's signature over a note's text: raw Ed25519 (64 bytes), or where the token has none ECDSA P-256 SHA-256 as DER. */
  signCheckpoint(text: Uint8Array): Promise<Uint8Array>
  readonly checkpointKey: { readonly algorithm: 'ed25519' | 'ecdsa-p256'; readonly publicKey: Uint8Array /* SPKI DER */ }
  /** AES-CMAC by the blind-index key over `name || 00 || value`, 16 bytes: equality search without the value. */
  blindIndex(values: readonly { readonly name: string; readonly value: string }[]): Promise<Uint8Array[]>
}
