import { createPublicKey, type KeyObject, verify } from 'node:crypto'
import { base64, concat, equalBytes, fromHex, hex, sha256, utf8 } from '../../core/bytes.ts'

/** Signed notes (C2SP signed-note v1.0.0) and checkpoints (C2SP tlog-checkpoint v1.0.0). Pure. */

export type CheckpointAlgorithm = 'ed25519' | 'ecdsa-p256'

/** A key that signs a log's notes: what an auditor must have got by another way than from the service. */
export interface LogKey {
  /** The key name, which is the log's origin. */
  readonly name: string
  readonly algorithm: CheckpointAlgorithm
  /** The first 4 bytes, hex, that tell keys of one name apart. */
  readonly id: string
  readonly publicKey: KeyObject
  /** `name+id+base64(type || key)`: what {@link parseLogKey} reads. */
  readonly vkey: string
}

export interface Checkpoint {
  readonly origin: string
  readonly size: number
  /** The root of RFC 6962 at that size, 32 bytes. */
  readonly root: Uint8Array
}

/** Thrown on a note, checkpoint or key that is not of the right form, or that the log's key did not sign. */
export class NoteError extends Error {
  override readonly name = 'NoteError'
}

const TYPES = { 'ed25519': 1, 'ecdsa-p256': 2 } as const
const ED25519_SPKI = fromHex('302a300506032b6570032100')
const MAX_NOTE_BYTES = 1_000_000
const MAX_SIGNATURES = 64
const UNICODE_SPACE_OR_PLUS = /[\s\u0085+]/u
// biome-ignore lint/suspicious/noControlCharactersInRegex: signed notes forbid exactly these.
const CONTROL = /[\u0000-\u0009\u000b-\u001f]/

/** The key by its SPKI (DER). Throws a {@link NoteError} when the name or the key will not do. */
export function logKey(name: string, algorithm: CheckpointAlgorithm, spki: Uint8Array): LogKey {
  if (name === '' || UNICODE_SPACE_OR_PLUS.test(name) || CONTROL.test(name))
    throw new NoteError('a key name is not empty and has no spaces, pluses or control characters')
  const publicKey = readKey(spki)
  const kind = publicKey.asymmetricKeyType
  if (algorithm === 'ed25519' ? kind !== 'ed25519' : kind !== 'ec' || publicKey.asymmetricKeyDetails?.namedCurve !== 'prime256v1') {
    throw new NoteError(`the key is not of the algorithm ${algorithm}`)
  }
  const encoded = concat(Buffer.of(TYPES[algorithm]), algorithm === 'ed25519' ? spki.subarray(ED25519_SPKI.length) : spki)
  // signed-note "Signature types": the id of an ECDSA key is the truncated hash of its SPKI alone.
  const id = hex((algorithm === 'ed25519' ? sha256(utf8(`${name}\n`), encoded) : sha256(spki)).subarray(0, 4))
  return { name, algorithm, id, publicKey, vkey: `${name}+${id}+${base64(encoded)}` }
}

/** Reads a verifier key in C2SP note form. Throws a {@link NoteError}, also when its id is not its key's. */
export function parseLogKey(vkey: string): LogKey {
  const parts = /^([^+]+)\+([0-9a-f]{8})\+([A-Za-z0-9+/]+=*)$/.exec(vkey.trim())
  const [, name, id, encoded] = parts ?? []
  if (name === undefined || id === undefined || encoded === undefined) throw new NoteError('a verifier key has the form name+id+base64')
  const bytes = strictBase64(encoded)
  const key = bytes.subarray(1)
  const type = bytes[0]
  if (type !== TYPES.ed25519 && type !== TYPES['ecdsa-p256']) throw new NoteError('the verifier key is neither Ed25519 nor ECDSA')
  if (type === TYPES.ed25519 && key.length !== 32) throw new NoteError('an Ed25519 key has 32 bytes')
  const made = type === TYPES.ed25519 ? logKey(name, 'ed25519', concat(ED25519_SPKI, key)) : logKey(name, 'ecdsa-p256', key)
  if (made.id !== id) throw new NoteError('the id of the verifier key is not its hash')
  return made
}

/** The text that is signed: origin, size and root, one a line. */
export const checkpointText = ({ origin, size, root }: Checkpoint): string => `${origin}\n${size}\n${base64(root)}\n`

/** The note: the text, a blank line, and the key's signature line. */
export const signedNote = (text: string, key: LogKey, signature: Uint8Array): string =>
  `${text}\n\u2014 ${key.name} ${base64(concat(fromHex(key.id), signature))}\n`

/**
 * The text of a note that the key signed. Signatures of unknown keys are passed over; one of the key's that fails rejects the note.
 * Throws a {@link NoteError}.
 */
export function openNote(note: string, key: LogKey): string {
  if (note.length > MAX_NOTE_BYTES) throw new NoteError('the note is too long')
  if (CONTROL.test(note)) throw new NoteError('the note has a control character')
  const split = note.lastIndexOf('\n\n')
  if (split < 0 || !note.endsWith('\n')) throw new NoteError('the note has no signatures')
  const text = note.slice(0, split + 1)
  const lines = note.slice(split + 2, -1).split('\n')
  if (lines.length > MAX_SIGNATURES) throw new NoteError('the note has too many signatures')
  let signed = false
  for (const line of lines) {
    const [, name, encoded] = /^\u2014 ([^ ]+) ([A-Za-z0-9+/]+=*)$/u.exec(line) ?? []
    if (name === undefined || encoded === undefined || UNICODE_SPACE_OR_PLUS.test(name)) throw new NoteError('a signature line is not of the right form')
    const bytes = strictBase64(encoded)
    if (bytes.length < 5) throw new NoteError('a signature is too short')
    if (name !== key.name || hex(bytes.subarray(0, 4)) !== key.id) continue
    if (!verifies(key, utf8(text), bytes.subarray(4))) throw new NoteError('the signature of the log does not verify')
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

/** A key of the log whose place another took. */
export interface ReplacedKey {
  readonly key: LogKey
  /** Entries under its last checkpoint. It signs none over more. */
  readonly lastSize: number
}

/** A checkpoint by the log's key, or by one that it replaced, over what that had to sign. Throws a {@link NoteError}. */
export function openSuccession(note: string, key: LogKey, replaced: readonly ReplacedKey[]): Checkpoint {
  const old = replaced.find((one) => isSignedBy(note, one.key))
  const checkpoint = openCheckpoint(note, old?.key ?? key)
  if (old !== undefined && checkpoint.size > old.lastSize) {
    throw new NoteError(`the checkpoint over ${checkpoint.size} entries is by a key that was replaced when it had signed ${old.lastSize}`)
  }
  return checkpoint
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

function verifies(key: LogKey, text: Uint8Array, signature: Uint8Array): boolean {
  if (key.algorithm === 'ed25519') return signature.length === 64 && verify(null, text, key.publicKey, signature)
  return verify('sha256', text, { key: key.publicKey, dsaEncoding: 'der' }, signature)
}

function readKey(spki: Uint8Array): KeyObject {
  try {
    const key = createPublicKey({ key: Buffer.from(spki), format: 'der', type: 'spki' })
    if (!equalBytes(key.export({ format: 'der', type: 'spki' }), spki)) throw new NoteError('the public key is not in canonical DER')
    return key
  } catch (error) {
    throw error instanceof NoteError ? error : new NoteError('the public key cannot be read', { cause: error })
  }
}

/** Base64 of RFC 4648 4, padded, with no stray bits. */
function strictBase64(text: string): Uint8Array {
  const bytes = Buffer.from(text, 'base64')
  if (bytes.toString('base64') !== text) throw new NoteError('not canonical base64')
  return bytes
}
