import { base64, concat, hex, sha256, utf8 } from '../../core/bytes.ts'
import type { PublicKey } from '../../core/public-key.ts'
import { assertKeyName, ED25519_SPKI, keyId, NoteError, publicKeyOf, signatureLine, splitNote, splitVerifierKey, strictBase64 } from './note.ts'

export { NoteError } from './note.ts'

/** Checkpoints (C2SP tlog-checkpoint v1.0.0) and the keys of logs that sign them. Pure. */

export type CheckpointAlgorithm = 'ed25519' | 'ecdsa-p256'

/** A key that signs a log's notes: what an auditor must have got by another way than from the service. */
export interface LogKey {
  /** The key name, which is the log's origin. */
  readonly name: string
  readonly algorithm: CheckpointAlgorithm
  /** The first 4 bytes, hex, that tell keys of one name apart. */
  readonly id: string
  readonly publicKey: PublicKey
  /** `name+id+base64(type || key)`: what {@link parseLogKey} reads. */
  readonly vkey: string
}

export interface Checkpoint {
  readonly origin: string
  readonly size: number
  /** The root of RFC 6962 at that size, 32 bytes. */
  readonly root: Uint8Array
}

const TYPES = { 'ed25519': 1, 'ecdsa-p256': 2 } as const

/** The key by its SPKI (DER). Throws a {@link NoteError} when the name or the key will not do. */
export function logKey(name: string, algorithm: CheckpointAlgorithm, spki: Uint8Array): LogKey {
  assertKeyName(name)
  const publicKey = publicKeyOf(spki, algorithm)
  const encoded = concat(Uint8Array.of(TYPES[algorithm]), algorithm === 'ed25519' ? spki.subarray(ED25519_SPKI.length) : spki)
  // signed-note "Signature types": the id of an ECDSA key is the truncated hash of its SPKI alone.
  const id = algorithm === 'ed25519' ? keyId(name, encoded) : hex(sha256(spki).subarray(0, 4))
  return { name, algorithm, id, publicKey, vkey: `${name}+${id}+${base64(encoded)}` }
}

/** Reads a verifier key in C2SP note form. Throws a {@link NoteError}, also when its id is not its key's. */
export function parseLogKey(vkey: string): LogKey {
  const { name, id, type, key } = splitVerifierKey(vkey.trim())
  if (type !== TYPES.ed25519 && type !== TYPES['ecdsa-p256']) throw new NoteError('the verifier key is neither Ed25519 nor ECDSA')
  if (type === TYPES.ed25519 && key.length !== 32) throw new NoteError('an Ed25519 key has 32 bytes')
  const made = type === TYPES.ed25519 ? logKey(name, 'ed25519', concat(ED25519_SPKI, key)) : logKey(name, 'ecdsa-p256', key)
  if (made.id !== id) throw new NoteError('the id of the verifier key is not its hash')
  return made
}

/** The text that is signed: origin, size and root, one a line. */
export const checkpointText = ({ origin, size, root }: Checkpoint): string => `${origin}\n${size}\n${base64(root)}\n`

/** The note: the text, a blank line, and the key's signature line. */
export const signedNote = (text: string, key: LogKey, signature: Uint8Array): string => `${text}\n${signatureLine(key, signature)}\n`

/**
 * The text of a note that the key signed. Signatures of unknown keys are passed over; one of the key's that fails rejects the note.
 * Throws a {@link NoteError}.
 */
export function openNote(note: string, key: LogKey): string {
  const { text, signatures } = splitNote(note)
  let signed = false
  for (const { name, id, signature } of signatures) {
    if (name !== key.name || id !== key.id) continue
    if (!key.publicKey.verifies(utf8(text), signature)) throw new NoteError('the signature of the log does not verify')
    signed = true
  }
  if (!signed) throw new NoteError('the log did not sign this note')
  return text
}

/** A checkpoint whose signature is the key's and whose origin is the key's name. Throws a {@link NoteError}. */
export function openCheckpoint(note: string, key: LogKey): Checkpoint {
  const checkpoint = parseCheckpoint(openNote(note, key))
  if (checkpoint.origin !== key.name) throw new NoteError('the checkpoint is another log\u2019s')
  return checkpoint
}

/** A key of the log whose place another took: another key, or the same under another origin. */
export interface ReplacedKey {
  readonly key: LogKey
  /** Entries under its last checkpoint. It signs none over more. */
  readonly lastSize: number
  /** Entries that checkpoints of its origin were over, as the recovery from their loss says ({@link LogRecovery}). Absent: none were lost. */
  readonly lostSize?: number
}

/** A checkpoint over entries that are lost, as a recovery says. */
export class LostCheckpoint extends NoteError {
  override readonly name: string = 'LostCheckpoint'
}

/**
 * A checkpoint by the log's key, or by one that it replaced, over what that had to sign. Throws a {@link LostCheckpoint} where a recovery names it, and else a
 * {@link NoteError}.
 */
export function openSuccession(note: string, key: LogKey, replaced: readonly ReplacedKey[]): Checkpoint {
  const old = replaced.find((one) => isSignedBy(note, one.key))
  const checkpoint = openCheckpoint(note, old?.key ?? key)
  if (old === undefined || checkpoint.size <= old.lastSize) return checkpoint
  const { lastSize, lostSize = 0 } = old
  if (checkpoint.size <= lostSize)
    throw new LostCheckpoint(`entries ${lastSize} to ${checkpoint.size} of its checkpoint are lost: the log was recovered without them`)
  throw new NoteError(`the checkpoint over ${checkpoint.size} entries is by a key that was replaced when it had signed ${lastSize}`)
}

/** Whether the log was recovered from the loss of what the checkpoint is over: nothing follows from it any more. */
export function isLost(note: string, { key, replaced }: { readonly key: LogKey; readonly replaced: readonly ReplacedKey[] }): boolean {
  try {
    openSuccession(note, key, replaced)
    return false
  } catch (error) {
    if (error instanceof NoteError) return error instanceof LostCheckpoint
    throw error
  }
}

/**
 * A checkpoint by the log's public key under an origin that the log never had, as far as is known: what a database that was set back past a recovery finds beside it.
 * Undefined where it is not that.
 */
export function ofUnknownShard(note: string, { key, replaced }: { readonly key: LogKey; readonly replaced: readonly ReplacedKey[] }): Checkpoint | undefined {
  try {
    const { origin } = parseCheckpoint(splitNote(note).text)
    if ([key, ...replaced.map((old) => old.key)].some(({ name }) => name === origin)) return undefined
    return openCheckpoint(note, logKey(origin, key.algorithm, key.publicKey.spki))
  } catch (error) {
    if (error instanceof NoteError) return undefined
    throw error
  }
}

/** Whether the key signed the checkpoint. */
export function isSignedBy(note: string, key: LogKey): boolean {
  try {
    openCheckpoint(note, key)
    return true
  } catch (error) {
    if (error instanceof NoteError) return false
    throw error
  }
}

/** The text of a checkpoint, its signatures not looked at. Extension lines are refused: nobody could audit them. */
export function parseCheckpoint(text: string): Checkpoint {
  const [, origin, digits, encoded] = /^([^\n]+)\n(0|[1-9][0-9]{0,15})\n([A-Za-z0-9+/]{43}=)\n$/u.exec(text) ?? []
  if (origin === undefined || digits === undefined || encoded === undefined) throw new NoteError('a checkpoint is origin, size and root, one a line')
  const size = Number(digits)
  if (!Number.isSafeInteger(size)) throw new NoteError('the size is too large')
  return { origin, size, root: strictBase64(encoded) }
}
