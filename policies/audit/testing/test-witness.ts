import { generateKeyPairSync, sign } from 'node:crypto'
import { utf8 } from '../../../core/bytes.ts'
import { type LogKey, logKey, signedNote } from '../checkpoint.ts'
import { cosignatureLine, cosignedMessage, type WitnessKey, witnessKey } from '../cosignature.ts'

/** A witness's key, and what it signs with it. */
export function testWitness(name: string): { readonly key: WitnessKey; readonly cosign: (text: string, timestamp: number) => string } {
  const { publicKey, privateKey } = generateKeyPairSync('ed25519')
  const key = witnessKey(name, publicKey.export({ format: 'der', type: 'spki' }))
  return { key, cosign: (text, timestamp) => cosignatureLine(key, timestamp, sign(null, cosignedMessage(text, timestamp), privateKey)) }
}

/** A log's key, and the notes that it signs. */
export function testLog(name: string): { readonly key: LogKey; readonly note: (text: string) => string } {
  const { publicKey, privateKey } = generateKeyPairSync('ed25519')
  const key = logKey(name, 'ed25519', publicKey.export({ format: 'der', type: 'spki' }))
  return { key, note: (text) => signedNote(text, key, sign(null, utf8(text), privateKey)) }
}
