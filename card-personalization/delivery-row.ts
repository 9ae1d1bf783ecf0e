import { concat, frame, unframe } from '../core/bytes.ts'
import type { Kcv, KcvMethod } from '../pkcs11/index.ts'

/** Every way in which a KCV is made (see {@link KcvMethod}). */
export const KCV_METHODS = ['aes-gp', 'aes-cmac', 'hmac-sha256', 'spki-sha256'] as const satisfies readonly KcvMethod[]

/** One key of a card as the vendor gets it. */
export interface CardKey {
  readonly purpose: string
  readonly keyVersion: number
  readonly kcv: Kcv
  /** AES-KWP under the transport key. */
  readonly wrapped: Uint8Array
}

/** Five fields a key: purpose, version in decimal, KCV method, KCV, wrapped key; framed. It is a part of the delivery's row MAC. */
export const encodeCardKeys = (keys: readonly CardKey[]): Uint8Array =>
  frame(keys.flatMap(({ purpose, keyVersion, kcv, wrapped }) => [purpose, String(keyVersion), kcv.method, kcv.value, wrapped]))

/** The inverse of {@link encodeCardKeys}. Throws a RangeError on bytes that it did not write. */
export function decodeCardKeys(bytes: Uint8Array): CardKey[] {
  const fields = unframe(bytes)
  if (fields.length % 5 !== 0) throw new RangeError('the keys of a card have five fields each')
  const text = (at: number): string => Buffer.from(fields[at] ?? []).toString('utf8')
  const keys: CardKey[] = []
  for (let at = 0; at < fields.length; at += 5) {
    keys.push({
      purpose: text(at),
      keyVersion: Number(text(at + 1)),
      kcv: { method: text(at + 2) as KcvMethod, value: fields[at + 3] ?? new Uint8Array() },
      wrapped: fields[at + 4] ?? new Uint8Array(),
    })
  }
  return keys
}

/** What a row's MAC binds the keys to, besides the keys themselves. */
export interface RowContext {
  readonly orderId: string
  readonly transportKeyId: string
  readonly profile: string
  readonly iccid: string
  readonly imsi: string
}

/** The bytes under a row's MAC: framed domain, order, transport key, profile, ICCID, IMSI, then five fields for each key (see {@link encodeCardKeys}). */
export const rowMacInput = (context: RowContext, keys: Uint8Array): Uint8Array =>
  concat(frame(['gridseal-delivery-row-v1', context.orderId, context.transportKeyId, context.profile, context.iccid, context.imsi]), keys)
