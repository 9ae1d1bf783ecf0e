import { concat, utf8 } from '../core/bytes.ts'
import type { PersonSecrets } from '../policies/people/index.ts'
import type { LaneKeys } from './lane-keys.ts'
import { CKM } from './mechanisms.ts'

/** What is asked of the pepper key. */
export type PepperPurpose = Parameters<PersonSecrets['pepper']>[0]

const PEPPER_PURPOSES: Readonly<Record<PepperPurpose, true>> = { 'password': true, 'recovery-code': true, 'device': true, 'login-name': true }

/**
 * HMAC-SHA-256 by the pepper key over `purpose || 00 || value`, 32 bytes. Purposes are of letters, so that no message of one is a message of another, nor that of
 * the key's check value.
 */
export function pepper({ token, roots }: LaneKeys, { purpose, value }: { readonly purpose: PepperPurpose; readonly value: Uint8Array }): Buffer {
  if (!Object.hasOwn(PEPPER_PURPOSES, purpose)) throw new RangeError('the pepper key has no such purpose')
  return token.sign(CKM.SHA256_HMAC, roots.pepper, concat(utf8(purpose), Buffer.of(0), value), Buffer.alloc(32))
}
