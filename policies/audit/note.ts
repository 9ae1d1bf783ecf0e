import { base64, concat, fromStrictBase64, fromHex, hex, sha256, utf8 } from '../../core/bytes.ts'
import { type PublicKey, readPublicKey } from '../../core/public-key.ts'

/** The form of signed notes and verifier keys (C2SP signed-note v1.0.0). Whether a signature holds, the file of its type finds out. Pure. */

/** Thrown on a note, checkpoint or key that is not of the right form, or that the key did not sign. */
export class NoteError extends Error {
  override readonly name: string = 'NoteError'
}

export interface SignatureLine {
  /** The key's name and its id, the first 4 bytes in hex: what to find the key by. */
  readonly name: string
  readonly id: string
  /** What stands after the id. Not empty. */
  readonly signature: Uint8Array
  /** As it stands in the note, without its line end. */
  readonly line: string
}

const MAX_NOTE_BYTES = 1_000_000
const MAX_SIGNATURES = 64
const UNICODE_SPACE_OR_PLUS = /[\s\u0085+]/u
// biome-ignore lint/suspicious/noControlCharactersInRegex: signed notes forbid exactly these.
const CONTROL = /[\u0000-\u0009\u000b-\u001f]/
const SIGNATURE_LINE = /^\u2014 ([^ ]+) ([A-Za-z0-9+/]+=*)$/u

/** DER of an Ed25519 public key (RFC 8410) up to its 32 bytes. */
export const ED25519_SPKI = fromHex('302a300506032b6570032100')

/** Text and signature lines of a note. Throws a {@link NoteError}. */
export function splitNote(note: string): { readonly text: string; readonly signatures: readonly SignatureLine[] } {
  if (note.length > MAX_NOTE_BYTES) throw new NoteError('the note is too long')
  if (CONTROL.test(note)) throw new NoteError('the note has a control character')
  const split = note.lastIndexOf('\n\n')
  if (split < 0 || !note.endsWith('\n')) throw new NoteError('the note has no signatures')
  const lines = note.slice(split + 2, -1).split('\n')
  if (lines.length > MAX_SIGNATURES) throw new NoteError('the note has too many signatures')
  return { text: note.slice(0, split + 1), signatures: lines.map(parseSignatureLine) }
}

/** Throws a {@link NoteError}. */
export function parseSignatureLine(line: string): SignatureLine {
  const [, name, encoded] = SIGNATURE_LINE.exec(line) ?? []
  if (name === undefined || encoded === undefined || UNICODE_SPACE_OR_PLUS.test(name)) throw new NoteError('a signature line is not of the right form')
  const bytes = strictBase64(encoded)
  if (bytes.length < 5) throw new NoteError('a signature is too short')
  return { name, id: hex(bytes.subarray(0, 4)), signature: bytes.subarray(4), line }
}

/** Without its line end. */
export const signatureLine = (key: { readonly name: string; readonly id: string }, signature: Uint8Array): string =>
  `\u2014 ${key.name} ${base64(concat(fromHex(key.id), signature))}`

export function assertKeyName(name: string): void {
  if (name === '' || UNICODE_SPACE_OR_PLUS.test(name) || CONTROL.test(name))
    throw new NoteError('a key name is not empty and has no spaces, pluses or control characters')
}

/** `encoded`: type byte and key. The id of every type but ECDSA. */
export const keyId = (name: string, encoded: Uint8Array): string => hex(sha256(utf8(`${name}\n`), encoded).subarray(0, 4))

/** Name, id and `type || key` of a verifier key. Whether the id is its key's is for the type to say. Throws a {@link NoteError}. */
export function splitVerifierKey(vkey: string): { readonly name: string; readonly id: string; readonly type: number; readonly key: Uint8Array } {
  const [, name, id, encoded] = /^([^+]+)\+([0-9a-f]{8})\+([A-Za-z0-9+/]+=*)$/.exec(vkey) ?? []
  if (name === undefined || id === undefined || encoded === undefined) throw new NoteError('a verifier key has the form name+id+base64')
  const bytes = strictBase64(encoded)
  return { name, id, type: bytes[0] ?? 0, key: bytes.subarray(1) }
}

/** A public key in DER. Throws a {@link NoteError} when it is not of the algorithm, or not in the one canonical form. */
export function publicKeyOf(spki: Uint8Array, algorithm: PublicKey['algorithm']): PublicKey {
  const key = readPublicKey(spki)
  if (key?.algorithm !== algorithm) throw new NoteError(`the key cannot be read as one of ${algorithm === 'ed25519' ? 'Ed25519' : 'ECDSA P-256'}`)
  return key
}

/** Base64 of RFC 4648 4, padded, with no stray bits. */
export function strictBase64(text: string): Uint8Array {
  const bytes = fromStrictBase64(text)
  if (bytes === undefined) throw new NoteError('not canonical base64')
  return bytes
}
