import type { Handle } from 'pkcs11js'
import { doubleBlock } from './lane-keys.ts'
import { CKK } from './mechanisms.ts'
import { CKA, CKO, type KeySpec } from './templates.ts'
import type { Token } from './token.ts'

const READABLE: KeySpec = { class: CKO.SECRET, keyType: CKK.AES, uses: [], mechanisms: [], extractable: true, insecureReadable: true }

/** K1 of a master (RFC 4493 2.3): E(master, 0), got by deriving zeros into a readable key, doubled. K1 is no secret; it must only be right. */
export function masterK1(token: Token, master: Handle): Buffer {
  const zeros = Buffer.alloc(16)
  const key = token.deriveCbc(master, zeros, zeros, token.form(READABLE))
  try {
    return doubleBlock(token.read(key, CKA.VALUE))
  } finally {
    token.destroy(key)
  }
}
