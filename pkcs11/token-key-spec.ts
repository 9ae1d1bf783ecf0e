import type { KeyId } from '../core/ids.ts'
import { CKK, CKM } from './mechanisms.ts'
import { generationId, parseGeneration } from './root-key-generations.ts'
import { MAC_KEYS, SIGNING_KEYS, SYSTEM_KEYS } from './root-keys.ts'
import { CKO, type KeySpec } from './templates.ts'

const AES = { class: CKO.SECRET, keyType: CKK.AES } as const

/** The private part of a P-256 key that signs. */
export const P256_PRIVATE: KeySpec = { class: CKO.PRIVATE, keyType: CKK.EC, uses: ['sign'], mechanisms: [CKM.ECDSA] }

/**
 * What each key that lives in the token is and may do, by its id: the one table, for who makes it and for who restores it. Not in it is the checkpoint key, which
 * is never restored. `kwp`: the number that the token knows AES-KWP by. `trusted`: the security officer makes it.
 */
export function tokenKeySpec(id: KeyId, kwp: number): KeySpec {
  const generation = parseGeneration(id)
  if (generation !== undefined && generation.number > 1) return tokenKeySpec(generationId({ key: generation.key, number: 1 }), kwp)
  if (id === SYSTEM_KEYS.storageKek) return { ...AES, uses: ['wrap', 'unwrap'], mechanisms: [kwp], trusted: true }
  if (id === SYSTEM_KEYS.backupKek || id.startsWith('transport:')) return { ...AES, uses: ['wrap'], mechanisms: [kwp], trusted: true }
  if (MAC_KEYS.includes(id)) return { ...AES, uses: ['sign'], mechanisms: [CKM.AES_CMAC] }
  if (id === SYSTEM_KEYS.pepper) return { class: CKO.SECRET, keyType: CKK.GENERIC_SECRET, uses: ['sign'], mechanisms: [CKM.SHA256_HMAC] }
  if (id.startsWith('master:')) return { ...AES, uses: ['derive'], mechanisms: [CKM.AES_CBC_ENCRYPT_DATA] }
  if (SIGNING_KEYS.includes(id)) return P256_PRIVATE
  throw new Error(`${id} is not the id of a key that lives in the token`)
}
