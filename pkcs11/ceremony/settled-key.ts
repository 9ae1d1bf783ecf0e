import type { Handle } from 'pkcs11js'
import type { KeyId } from '../../core/ids.ts'
import { P256_PUBLIC } from '../algorithms.ts'
import { CKM, P256_PARAMS } from '../mechanisms.ts'
import { kwpCheckValue } from '../root-handles.ts'
import { SYSTEM_KEYS } from '../root-keys.ts'
import { CKA, CKO, type KeySpec } from '../templates.ts'
import type { Token } from '../token.ts'
import { P256_PRIVATE, tokenKeySpec } from '../token-key-spec.ts'

/**
 * The backup KEK of the token that the user is logged in to, with its check value. `undefined`: its keys are not backed up. Throws on one that is not TRUSTED:
 * who has the user's PIN alone can make a key of that name.
 */
export function findBackupKek(token: Token): { readonly handle: Handle; readonly check: Buffer } | undefined {
  const handle = token.find(CKO.SECRET, SYSTEM_KEYS.backupKek)
  if (handle === undefined) return undefined
  if (token.read(handle, CKA.TRUSTED)[0] !== 1) throw new Error('the backup KEK of the token is not TRUSTED: the security officer did not make it')
  return { handle, check: kwpCheckValue(token, handle) }
}

/** A key under the backup KEK, where there is one. */
export function wrapForBackup(token: Token, original: Handle): { readonly wrapped: Buffer; readonly kek: Buffer } | undefined {
  const kek = findBackupKek(token)
  return kek && { wrapped: token.wrap(kek.handle, original), kek: kek.check }
}

/**
 * The final form of a session object: a private token object that is not extractable, by a copy, whose flags are read back; the original is destroyed.
 * C_CopyObject takes the flags in this order, and neither ALLOWED_MECHANISMS nor COPYABLE: the original has its mechanisms already, and the copy stays copyable.
 */
export function settle(token: Token, original: Handle, { spec, label }: { readonly spec: KeySpec; readonly label: string }): Handle {
  const handle = token.lib.C_CopyObject(token.handle, original, [
    { type: CKA.TOKEN, value: true },
    { type: CKA.PRIVATE, value: true },
    { type: CKA.LABEL, value: label },
    ...(spec.extractable === true ? [{ type: CKA.EXTRACTABLE, value: false }] : []), // written once: SoftHSM refuses to write false over false
    { type: CKA.MODIFIABLE, value: false },
  ])
  token.destroy(original)
  const { original: _, insecurePublic: __, ...settled } = spec
  token.form({ ...settled, label, extractable: false, copyable: true }).assert(token.lib, token.handle, handle)
  return handle
}

/** A key as it is made to be backed up: it leaves once, under a trusted key, and is settled. */
const leaving = (spec: KeySpec): KeySpec => ({ ...spec, original: true, extractable: true, wrapWithTrusted: true })

/** A secret key of 32 bytes that the user makes. With a backup KEK it leaves once under that; without, it is in its final form from the start. */
export function makeSecret(token: Token, id: KeyId, kek: Handle | undefined): { readonly handle: Handle; readonly wrapped?: Buffer } {
  const spec = tokenKeySpec(id, token.kwp)
  if (kek === undefined) return { handle: token.generate(token.form({ ...spec, label: id }), 32) }
  const original = token.generate(token.form(leaving(spec)), 32)
  const wrapped = token.wrap(kek, original)
  return { handle: settle(token, original, { spec: leaving(spec), label: id }), wrapped }
}

/** A P-256 pair that the user makes, to sign; its public part is a token object of the same label. `kek`: as of {@link makeSecret}. */
export function makeP256(token: Token, id: KeyId, kek?: Handle): { readonly wrapped?: Buffer } {
  const spec: KeySpec = P256_PRIVATE
  const publicForm = token.form({ ...P256_PUBLIC, label: id })
  const privateForm = token.form(kek === undefined ? { ...spec, label: id } : leaving(spec))
  const { privateKey } = token.generatePair(CKM.EC_KEY_PAIR_GEN, P256_PARAMS, publicForm, privateForm)
  if (kek === undefined) return {}
  const wrapped = token.wrap(kek, privateKey)
  settle(token, privateKey, { spec: leaving(spec), label: id })
  return { wrapped }
}
