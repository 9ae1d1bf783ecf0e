import { type KeyObject, verify } from 'node:crypto'
import { base64, concat, utf8 } from '../../core/bytes.ts'
import { assertKeyName, ED25519_SPKI, keyId, NoteError, readPublicKey, type SignatureLine, signatureLine, splitNote, splitVerifierKey } from './note.ts'

/**
 * Cosignatures of checkpoints (C2SP tlog-cosignature, Ed25519): a witness says that at a time the checkpoint was the largest it knew of that log, and
 * extended all it had cosigned before. The signature does not cover the witness's name: a key is one witness's. ML-DSA-44 (type 0x06) is not known here. Pure.
 */

/** A key that cosigns. */
export interface WitnessKey {
  readonly name: string
  /** The first 4 bytes, hex. */
  readonly id: string
  readonly publicKey: KeyObject
  /** `name+id+base64(0x04 || key)`: what {@link parseWitnessKey} reads. */
  readonly vkey: string
}

export interface Cosignature {
  readonly key: WitnessKey
  /** Seconds since 1970, by the witness's clock. */
  readonly timestamp: number
  /** As it stands in the note, without its line end. */
  readonly line: string
}

const TYPE_ED25519 = 4
const TYPE_ML_DSA_44 = 6
/** u64 timestamp, then the signature of RFC 8032. */
const SIGNATURE_BYTES = 8 + 64

/** The key by its SPKI (DER, Ed25519). Throws a {@link NoteError} when the name or the key will not do. */
export function witnessKey(name: string, spki: Uint8Array): WitnessKey {
  assertKeyName(name)
  const publicKey = readPublicKey(spki)
  if (publicKey.asymmetricKeyType !== 'ed25519') throw new NoteError('the key of a witness is Ed25519')
  const encoded = concat(Buffer.of(TYPE_ED25519), spki.subarray(ED25519_SPKI.length))
  const id = keyId(name, encoded)
  return { name, id, publicKey, vkey: `${name}+${id}+${base64(encoded)}` }
}

/** Reads a verifier key of type 0x04. Throws a {@link NoteError}, also when its id is not its key's. */
export function parseWitnessKey(vkey: string): WitnessKey {
  const { name, id, type, key } = splitVerifierKey(vkey)
  if (type === TYPE_ML_DSA_44) throw new NoteError('cosignatures by ML-DSA-44 (type 0x06) cannot be verified here')
  if (type !== TYPE_ED25519) throw new NoteError('the key of a witness has type 0x04 (cosignature/v1)')
  if (key.length !== 32) throw new NoteError('an Ed25519 key has 32 bytes')
  const made = witnessKey(name, concat(ED25519_SPKI, key))
  if (made.id !== id) throw new NoteError('the id of the verifier key is not its hash')
  return made
}

/** What is signed. `text`: of the checkpoint, with its last line end. */
export const cosignedMessage = (text: string, timestamp: number): Uint8Array => utf8(`cosignature/v1\ntime ${timestamp}\n${text}`)

/** The line of a cosignature, without its line end. `signature`: 64 bytes of RFC 8032 over {@link cosignedMessage}. */
export function cosignatureLine(key: WitnessKey, timestamp: number, signature: Uint8Array): string {
  const time = Buffer.alloc(8)
  time.writeBigUInt64BE(BigInt(timestamp))
  return signatureLine(key, concat(time, signature))
}

/**
 * The cosignatures of these keys on a note, at most one of a key: its latest. Lines of other keys are passed over; one of a known key that fails rejects
 * the note. Throws a {@link NoteError}. Who signed the checkpoint itself is not looked at.
 */
export function openCosignatures(note: string, keys: readonly WitnessKey[]): Cosignature[] {
  const { text, signatures } = splitNote(note)
  const latest = new Map<WitnessKey, Cosignature>()
  for (const signature of signatures) {
    const key = keys.find(({ name, id }) => name === signature.name && id === signature.id)
    if (key === undefined) continue
    const found = openCosignature(text, signature, key)
    if (found.timestamp >= (latest.get(key)?.timestamp ?? 0)) latest.set(key, found)
  }
  return [...latest.values()]
}

function openCosignature(text: string, { signature, line }: SignatureLine, key: WitnessKey): Cosignature {
  if (signature.length !== SIGNATURE_BYTES) throw new NoteError(`the cosignature of ${key.name} has not ${SIGNATURE_BYTES} bytes`)
  const timestamp = Number(Buffer.from(signature.subarray(0, 8)).readBigUInt64BE())
  if (!Number.isSafeInteger(timestamp)) throw new NoteError(`the time of the cosignature of ${key.name} is too large`)
  if (!verify(null, cosignedMessage(text, timestamp), key.publicKey, signature.subarray(8)))
    throw new NoteError(`the cosignature of ${key.name} does not verify`)
  return { key, timestamp, line }
}

/** The note with more signature lines, each of which it holds once. */
export function withSignatures(note: string, lines: readonly string[]): string {
  const held = new Set(splitNote(note).signatures.map(({ line }) => line))
  return (
    note +
    [...new Set(lines)]
      .filter((line) => !held.has(line))
      .map((line) => `${line}\n`)
      .join('')
  )
}
