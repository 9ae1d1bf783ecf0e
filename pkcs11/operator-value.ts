import type { LaneKeys, SealedBytes } from './lane-keys.ts'
import { CKK } from './mechanisms.ts'
import { CKA, CKO, type KeySpec } from './templates.ts'

const READABLE: KeySpec = { class: CKO.SECRET, keyType: CKK.AES, uses: [], mechanisms: [], extractable: true, insecureReadable: true }

/** The value of OP (TS 35.206): the one key that a lane reads. Who asks wipes it. */
export function readOperatorValue(keys: LaneKeys, sealed: SealedBytes): Buffer {
  const { algorithm, wrapped } = keys.open(sealed).columns
  if (algorithm !== 'aes-128' || !(wrapped instanceof Uint8Array)) throw new Error('an operator key is an aes-128 key')
  const { handle: key } = keys.unwrap(wrapped, keys.token.form(READABLE))
  try {
    return keys.token.read(key, CKA.VALUE)
  } finally {
    keys.token.destroy(key)
  }
}
