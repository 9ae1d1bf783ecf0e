import { randomBytes } from 'node:crypto'

declare const brand: unique symbol
type Branded<Name extends string> = string & { readonly [brand]: Name }

/** An operation: a UUID (RFC 9562 version 7). It is the `instance` of a problem and the name of the audit entries. */
export type OperationId = Branded<'OperationId'>
/** The name of a key. Safe to log and useless alone: the key itself never leaves the token in clear. */
export type KeyId = Branded<'KeyId'>

export const operationId = (text: string): OperationId => text as OperationId
export const keyId = (text: string): KeyId => text as KeyId

/** A new UUID version 7 (RFC 9562 5.7): 48 bits of Unix milliseconds, then 74 random bits. */
export function newUuid(nowMs: number = Date.now(), random: Uint8Array = randomBytes(10)): string {
  const bytes = Buffer.alloc(16)
  bytes.writeUIntBE(nowMs, 0, 6)
  bytes.set(random.subarray(0, 10), 6)
  bytes[6] = ((bytes[6] ?? 0) & 0x0f) | 0x70
  bytes[8] = ((bytes[8] ?? 0) & 0x3f) | 0x80
  const hex = bytes.toString('hex')
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`
}

export const newOperationId = (): OperationId => newUuid() as OperationId

/** A UUID in its canonical lower-case text form, of any version. */
export const UUID_PATTERN = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/
