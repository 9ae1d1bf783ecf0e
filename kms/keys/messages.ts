import { z } from 'zod'
import { base64url, fromBase64, sha256 } from '../../core/bytes.ts'
import { type KeyId, keyId, UUID_PATTERN } from '../../core/ids.ts'
import { Problem } from '../../core/problem.ts'
import type { RowSealer } from '../../core/row.ts'
import type { Facts } from '../../policies/audit/log.ts'
import { append, EMPTY_EDGE, leafHash, rootOf } from '../../policies/audit/merkle.ts'
import { CALLER_ALGORITHMS, type FoundKey, isFor, type KeyRecord } from './key.ts'
import type { KeyStore } from './key-store.ts'
import { type CallerKeyUse, isPermitted } from './state.ts'

/** The most bytes of a body with a batch of messages. */
export const BATCH_BODY_BYTES = 4 * 1024 * 1024
export const MESSAGE_BYTES = 64 * 1024
/** Batches up to here name each message's digest in the log, longer ones their Merkle root. */
const LISTED_DIGESTS = 20

/** Standard base64 with padding (RFC 4648 4) of at most `bytes` bytes. */
export const base64Text = (bytes: number, description: string) =>
  z
    .string()
    .max(4 * Math.ceil(bytes / 3))
    .regex(/^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/, 'not base64 with padding (RFC 4648 section 4)')
    .transform(fromBase64)
    .refine((content) => content.length <= bytes, `more than ${bytes} bytes`)
    .meta({ description, example: 'bWV0ZXIgcmVhZGluZw==', contentEncoding: 'base64' })

export const keyIdText = z
  .string()
  .regex(UUID_PATTERN, 'not a key id')
  .transform(keyId)
  .meta({ description: 'Id of the key', example: '0198f2c1-7a40-7c3e-9d52-6a1f0b2c3d4e' })

export const messageText = base64Text(MESSAGE_BYTES, 'The message, at most 64 KiB, base64')

/** Additional authenticated data of AES-GCM. */
export const aadText = base64Text(MESSAGE_BYTES, 'Additional authenticated data, at most 64 KiB, base64. Absent: none')

/** A list of 1 to `most` items. */
export const batchOf = <Item extends z.ZodType>(item: Item, most = 1000) => z.array(item).min(1).max(most)

/** What every answer says of the key that was used. */
export const USED_KEY = { keyId: z.string(), keyVersion: z.int().min(1).max(1_000_000), algorithm: z.enum(CALLER_ALGORITHMS) }
export const usedKey = ({ id, keyVersion, algorithm }: KeyRecord): z.infer<z.ZodObject<typeof USED_KEY>> => ({ keyId: id, keyVersion, algorithm })

/** The most items of a batch to encrypt or decrypt. */
export const CIPHER_ITEMS = 256

/** What the log says of a batch: how many, and what: SHA-256 of each message, or when they are many the root of the RFC 6962 tree whose leaves the messages are. Base64url. */
export function batchFacts(messages: readonly Uint8Array[]): NonNullable<Facts['public']> {
  return messages.length <= LISTED_DIGESTS
    ? { count: messages.length, digests: messages.map((message) => base64url(sha256(message))) }
    : { count: messages.length, messagesRoot: base64url(rootOf(append(EMPTY_EDGE, messages.map(leafHash)))) }
}

/** Why the key cannot be put to this use: it is not there, it is of another kind, or its state forbids it. */
export function obstacleTo(use: CallerKeyUse, found: FoundKey | undefined): Problem | undefined {
  if (found === undefined || found.record.state === 'reserved') return new Problem('not-found', 'There is no key with this id.')
  const { algorithm, state } = found.record
  if (!isFor(algorithm, use)) return new Problem('conflict', `The key is of the algorithm ${algorithm}, and such a key does not ${use}.`)
  if (isPermitted(state, use)) return undefined
  return new Problem('conflict', `The key is ${state}, and a key in that state does not ${use}.`)
}

/**
 * Finds a key for a use. The lane checks the row's MAC before it uses the key; a state or an algorithm that forbids the use is believed only once the row
 * is checked here, so that an edited one is told for what it is. Throws `integrity-failed`.
 */
export async function findFor(
  use: CallerKeyUse,
  id: KeyId,
  { keys, sealer }: { readonly keys: KeyStore; readonly sealer: RowSealer },
): Promise<FoundKey | undefined> {
  const found = await keys.findKey(id)
  if (found !== undefined && !(isPermitted(found.record.state, use) && isFor(found.record.algorithm, use))) await sealer.assertRows([found.sealed])
  return found
}

/** What `admit` let through is there. */
export function present<Value>(value: Value | undefined): Value {
  if (value === undefined) throw new Error('the operation was admitted without its target')
  return value
}
