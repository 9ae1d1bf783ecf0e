import { createHash, createPublicKey } from 'node:crypto'
import type { Handle } from 'pkcs11js'
import { CKK, CKM } from '../mechanisms.ts'
import { BACKUP_RECIPIENT } from '../root-keys.ts'
import { oaep } from '../rsa-oaep.ts'
import { CKA, CKO, type KeyForm } from '../templates.ts'
import type { Token } from '../token.ts'
import { type CeremonyToken, openAsUser } from './officer.ts'
import { syncFolder } from './sync-folder.ts'

const CKM_RSA_PKCS_KEY_PAIR_GEN = 0x0
const CKA_MODULUS_BITS = 0x121
const RSA_BITS = 3072
const EXPONENT = Buffer.from([1, 0, 1])

export interface Recipient {
  readonly serial: string
  /** SPKI DER. */
  readonly publicKey: Buffer
}

/** SHA-256 of a public key (SPKI DER): what two people compare. */
export const fingerprintOf = (spki: Uint8Array): Buffer => createHash('sha256').update(spki).digest()

/** Makes a token one that can restore; the same pair when it is one already. A crash leaves no pair or the pair. */
export function makeBackupRecipient(settings: CeremonyToken): Recipient {
  const token = openAsUser(settings)
  if (findRecipient(token) === undefined) makePair(token)
  if (settings.tokensFolder !== undefined) syncFolder(settings.tokensFolder)
  const made = findRecipient(token)
  if (made === undefined) throw new Error('the new pair is not to be seen')
  return { serial: token.serial, publicKey: made.publicKey }
}

/** RSA-3072; unwraps by OAEP and does nothing else. */
function makePair(token: Token): void {
  const kind = { keyType: CKK.RSA, label: BACKUP_RECIPIENT }
  const publicForm = token.form({ class: CKO.PUBLIC, ...kind, uses: [], mechanisms: [] })
  const privateForm = token.form({ class: CKO.PRIVATE, ...kind, uses: ['unwrap'], mechanisms: [CKM.RSA_PKCS_OAEP] })
  const publicTemplate = publicForm.template({ type: CKA_MODULUS_BITS, value: RSA_BITS }, { type: CKA.PUBLIC_EXPONENT, value: EXPONENT })
  const { publicKey, privateKey } = token.ask(CKM_RSA_PKCS_KEY_PAIR_GEN, () =>
    token.lib.C_GenerateKeyPair(token.handle, { mechanism: CKM_RSA_PKCS_KEY_PAIR_GEN }, publicTemplate, privateForm.template()),
  )
  publicForm.assert(token.lib, token.handle, publicKey)
  privateForm.assert(token.lib, token.handle, privateKey)
}

/** The pair of a token that the user is logged in to. Its public key is read from the private part, which nobody without a login can edit. */
export function findRecipient(token: Token): { readonly privateKey: Handle; readonly publicKey: Buffer } | undefined {
  const privateKey = token.find(CKO.PRIVATE, BACKUP_RECIPIENT)
  if (privateKey === undefined) return undefined
  const n = token.read(privateKey, CKA.MODULUS).toString('base64url')
  const e = token.read(privateKey, CKA.PUBLIC_EXPONENT).toString('base64url')
  const publicKey = createPublicKey({ key: { kty: 'RSA', n, e }, format: 'jwk' }).export({ format: 'der', type: 'spki' })
  return { privateKey, publicKey }
}

/** What was encrypted for a recipient, in its token. */
export function unwrapAsRecipient(token: Token, privateKey: Handle, encrypted: Uint8Array, form: KeyForm): Handle {
  const key = token.ask(CKM.RSA_PKCS_OAEP, () => token.lib.C_UnwrapKey(token.handle, oaep(), privateKey, Buffer.from(encrypted), form.template()))
  form.assert(token.lib, token.handle, key)
  return key
}
