declare const brand: unique symbol
type Branded<Name extends string> = string & { readonly [brand]: Name }

/** An operation: a UUID (RFC 9562 version 7). It is the `instance` of a problem and the name of the audit entries. */
export type OperationId = Branded<'OperationId'>
/** The name of a key. Safe to log and useless alone: the key itself never leaves the token in clear. */
export type KeyId = Branded<'KeyId'>

export const operationId = (text: string): OperationId => text as OperationId
export const keyId = (text: string): KeyId => text as KeyId

/** A new UUID version 7 (RFC 9562 5.7): 48 bits of Unix milliseconds, then the 74 random bits of a version 4 one, whose variant it shares. */
export function newUuid(nowMs: number = Date.now(), random: string = crypto.randomUUID()): string {
  const time = nowMs.toString(16).padStart(12, '0')
  return `${time.slice(0, 8)}-${time.slice(8)}-7${random.slice(15)}`
}

export const newOperationId = (): OperationId => newUuid() as OperationId

/** A UUID in its canonical lower-case text form, of any version. */
export const UUID_PATTERN = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/
