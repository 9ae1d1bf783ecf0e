import pkcs11js, { type AesGCM, type Handle, type Mechanism } from 'pkcs11js'
import { cryptokiError } from './errors.ts'
import { KNOWN_ANSWERS } from './known-answers.ts'
import { CKK, CKM } from './mechanisms.ts'
import { NO_BYTES } from './no-bytes.ts'
import { CKA, CKO } from './templates.ts'
import type { Token } from './token.ts'

/** SP 800-38D 8.2.2: 96 random bits, used as J0 without hashing. */
export const GCM_IV_BYTES = 12
export const GCM_TAG_BYTES = 16

/** CKR_ENCRYPTED_DATA_INVALID and CKR_ENCRYPTED_DATA_LEN_RANGE (v2.40), CKR_AEAD_DECRYPT_FAILED (v3.0). */
const TAG_WRONG: readonly (number | undefined)[] = [0x40, 0x41, 0x42]
/** What SoftHSM 2.6.1 answers to a wrong tag, and any token to a failure of its own. */
const GENERAL_ERROR = 0x5

export interface GcmCall {
  /** 12 bytes. */
  readonly iv: Buffer
  /** The plaintext, or the ciphertext with its tag. */
  readonly data: Buffer
  readonly aad: Buffer
}

/** CK_GCM_PARAMS of PKCS#11 v2.40 with errata 01: with ulIvBits. */
function gcm(iv: Buffer, aad: Buffer): Mechanism {
  const parameter: AesGCM = { type: pkcs11js.CK_PARAMS_AES_GCM_v240, iv, ivBits: 8 * iv.length, aad, tagBits: 8 * GCM_TAG_BYTES }
  return { mechanism: CKM.AES_GCM, parameter }
}

/** Ciphertext || tag into `out`. */
export function encryptGcm(token: Token, key: Handle, { iv, data, aad }: GcmCall, out: Buffer): void {
  token.ask(CKM.AES_GCM, () => token.lib.C_EncryptInit(token.handle, gcm(iv, aad), key))
  if (token.lib.C_Encrypt(token.handle, data.length === 0 ? NO_BYTES : data, out).length !== data.length + GCM_TAG_BYTES)
    throw new Error('the token gave a ciphertext of another length')
}

/** The plaintext; `undefined` where the tag is wrong. */
export function decryptGcm(token: Token, key: Handle, call: GcmCall): Buffer | undefined {
  if (call.data.length < GCM_TAG_BYTES) return undefined
  try {
    return decryptOnce(token, key, call)
  } catch (error) {
    if (cryptokiError(error)?.code !== GENERAL_ERROR || !opensPublished(token)) throw error
    // The token is well, so it means the tag; or that it was ill for a moment, which the second time tells.
    return decryptOnce(token, key, call, [...TAG_WRONG, GENERAL_ERROR])
  }
}

function decryptOnce(token: Token, key: Handle, { iv, data, aad }: GcmCall, tagWrong = TAG_WRONG): Buffer | undefined {
  token.ask(CKM.AES_GCM, () => token.lib.C_DecryptInit(token.handle, gcm(iv, aad), key))
  try {
    // As large as what goes in: SoftHSM asks for that, and refuses a smaller one with the operation left open.
    return token.lib.C_Decrypt(token.handle, data, Buffer.alloc(data.length))
  } catch (error) {
    if (tagWrong.includes(cryptokiError(error)?.code)) return undefined
    throw error
  }
}

/** Whether the token is well, and an error of no meaning before this was about the tag: it opens a published value. */
function opensPublished(token: Token): boolean {
  const { key: value, iv, aad, message, sealed } = KNOWN_ANSWERS.gcm
  const form = token.form({ class: CKO.SECRET, keyType: CKK.AES, uses: ['decrypt'], mechanisms: [CKM.AES_GCM] })
  const key = token.importKey(form, { type: CKA.VALUE, value: Buffer.from(value, 'hex') })
  try {
    token.lib.C_DecryptInit(token.handle, gcm(Buffer.from(iv, 'hex'), Buffer.from(aad, 'hex')), key)
    return token.lib.C_Decrypt(token.handle, Buffer.from(sealed, 'hex'), Buffer.alloc(sealed.length)).toString('hex') === message
  } finally {
    token.destroy(key)
  }
}
