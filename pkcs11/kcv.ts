/** How a key's check value was made. Conventions differ, so every KCV is labelled. */
export type KcvMethod =
  /** AES-ECB(key, 01 * 16), first 3 bytes (GPC Amendment D 7.2.2). */
  | 'aes-gp'
  /** CMAC(key, 00 * 16), first 5 bytes (X9.24-1). */
  | 'aes-cmac'
  /** HMAC-SHA-256(key, 00 * 16), first 5 bytes (ours: there is no standard one). */
  | 'hmac-sha256'
  /** SHA-256 of the SubjectPublicKeyInfo (DER), first 5 bytes, of a private key (ours: there is no standard one). */
  | 'spki-sha256'

export interface Kcv {
  readonly method: KcvMethod
  readonly value: Uint8Array
}

/** How many bytes of the check are the KCV. */
export const KCV_LENGTH: Readonly<Record<KcvMethod, number>> = { 'aes-gp': 3, 'aes-cmac': 5, 'hmac-sha256': 5, 'spki-sha256': 5 }
