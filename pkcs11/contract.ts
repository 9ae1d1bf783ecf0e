import type { KeyId } from '../core/ids.ts'
import type { SealedRow } from '../core/row.ts'
import type { Permit } from '../policies/permit.ts'
import type { Kcv } from './kcv.ts'
import type { GenerationMade } from './ceremony/rotate-root-key.ts'
import type { KeyBackup } from './key-backup.ts'
import type { RotatedKey } from './root-key-generations.ts'
import type { RootKeyId } from './root-keys.ts'

/** Algorithms of keys that live wrapped in the database. */
export type KeyAlgorithm = 'ec-p256' | 'hmac-sha256' | 'aes-128' | 'aes-256' | 'aes-gcm-256' | 'aes-cmac-128' | 'aes-cmac-256'

/**
 * A key as the database holds it. The sealed row has at least the columns `algorithm` ({@link KeyAlgorithm}) and `wrapped`
 * (AES-KWP under the storage KEK), and of an ec-p256 key `public_key` (SPKI DER), and its id is the key's. The lane checks the MAC before it unwraps.
 */
export interface StoredKey {
  readonly id: KeyId
  readonly sealed: SealedRow
}

/** One key of a card, as the profile plans it. */
export interface CardKeyPlan {
  /** `ki`, `opc`, `gp-enc`, `gp-mac`, `gp-dek`, `auth`: unique within the plan. */
  readonly purpose: string
  readonly source: /** KDF3 from the card master with this derivation type `t` (1 ENC, 2 MAC, 3 DEK as in GlobalPlatform; others ours). */
    | { readonly kind: 'derived'; readonly type: number }
    /** AES-128 by the token's generator; kept under the storage KEK as well as delivered. */
    | { readonly kind: 'random' }
    /** OPc = E(K, OP) xor OP (TS 35.206 4.1), K being the random key of this purpose. */
    | { readonly kind: 'opc'; readonly of: string }
    /** A P-256 key pair by the token's generator; the private key is delivered (PKCS#8) and not kept. Its KCV is `spki-sha256`. */
    | { readonly kind: 'ec-p256' }
  readonly kcv: 'aes-gp' | 'aes-cmac' | 'spki-sha256'
}

export interface FilledKey {
  readonly purpose: string
  readonly kcv: Kcv
  /** AES-KWP under the transport key. */
  readonly wrapped: Uint8Array
  /** AES-KWP under the storage KEK; only of random keys. */
  readonly stored?: Uint8Array
  /** SPKI DER; only of key pairs. */
  readonly publicKey?: Uint8Array
}

/** What a USIM answers a challenge: RES (8 bytes), or AUTS (14 bytes) where it has seen a later SQN (TS 33.102 6.3.3). */
export type MilenageAnswer = { readonly res: Uint8Array } | { readonly auts: Uint8Array }
/** Whether RES is right; of an AUTS the SQN of the card (6 bytes), where its MAC-S is right. */
export type MilenageVerdict = { readonly kind: 'res'; readonly right: boolean } | { readonly kind: 'auts'; readonly sqn: Uint8Array | undefined }

/** A card master: it lives in the token and its row in the database says what it must be. Columns: `k1` (16 bytes), `kat_kcv` (aes-gp KCV of the ENC key for KDD 00*10). */
export interface CardMaster {
  readonly id: KeyId
  readonly sealed: SealedRow
}

export interface CardMasterMade {
  readonly k1: Uint8Array
  /** See {@link CardMaster}. */
  readonly katKcv: Uint8Array
  /** Where the token has a backup KEK. It is recorded with the row. */
  readonly backup?: KeyBackup
}

export interface TransportKeyMade {
  /** The transport key (AES-256) under the vendor's RSA key: OAEP with SHA-1 and MGF1-SHA-1, empty label. */
  readonly encryptedKey: Uint8Array
  readonly kcv: Kcv
  /** The row-MAC key (AES-256 for CMAC) by AES-KWP under the transport key. */
  readonly wrappedMacKey: Uint8Array
  readonly macKcv: Kcv
  /** The row-MAC key by AES-KWP under the storage KEK, for the database (algorithm `aes-cmac-256`). */
  readonly storedMacKey: Uint8Array
  /** Where the token has a backup KEK. It is recorded with the row. */
  readonly backup?: KeyBackup
}

export interface GeneratedKey {
  /** AES-KWP under the storage KEK. */
  readonly wrapped: Uint8Array
  /** SPKI DER, of a key pair. */
  readonly publicKey?: Uint8Array
  /** Of a secret key. */
  readonly kcv?: Kcv
}

/**
 * The HSM, as operations use it: ids in, public things and ciphertext out. Every method calls `permit.assertAllows` for each key it uses, with the action named here.
 * Throws the problems `hsm-unavailable` (nothing was done; ask again), `hsm-failed`, `integrity-failed` (a row's MAC).
 */
export interface Hsm {
  /** generate keyId. */
  generate(permit: Permit, keyId: KeyId, algorithm: KeyAlgorithm): Promise<GeneratedKey>
  /** sign key.id. ec-p256: ECDSA over SHA-256, raw r||s, 64 bytes. hmac-sha256: 32 bytes. */
  sign(permit: Permit, key: StoredKey, messages: readonly Uint8Array[]): Promise<Uint8Array[]>
  /** verify key.id. Signatures as {@link sign} makes them; one of a wrong form is `false`. */
  verify(permit: Permit, key: StoredKey, items: readonly { readonly message: Uint8Array; readonly signature: Uint8Array }[]): Promise<boolean[]>
  /** mac key.id. AES-CMAC (RFC 4493), 16 bytes, by a key of algorithm aes-cmac-*. */
  mac(permit: Permit, key: StoredKey, messages: readonly Uint8Array[]): Promise<Uint8Array[]>
  /** sign keyId. ECDSA P-256 over SHA-256, raw r||s, by a key in the token. */
  signWithRoot(permit: Permit, keyId: RootKeyId, messages: readonly Uint8Array[]): Promise<Uint8Array[]>
  /** SPKI DER of a key in the token. */
  rootPublicKey(keyId: RootKeyId): Uint8Array
  /** ceremony keyId. Makes a card master in the token: AES-256, DERIVE only. */
  makeCardMaster(permit: Permit, keyId: KeyId): Promise<CardMasterMade>
  /** ceremony keyId (the transport key, TRUSTED, wrap only, in the token) and generate macKeyId. */
  makeTransportKey(
    permit: Permit,
    request: { readonly keyId: KeyId; readonly macKeyId: KeyId; readonly recipient: Uint8Array /* SPKI DER of an RSA-3072 key */ },
  ): Promise<TransportKeyMade>
  /** derive master.id. Whether each MAC is AES-CMAC by the card's key of the derivation type `type` (KDF3). `kdd`: EF.ICCID, 10 bytes. The right MAC stays in the lane. */
  checkCardMacs(
    permit: Permit,
    request: {
      readonly master: CardMaster
      readonly type: number
      readonly items: readonly { readonly kdd: Uint8Array; readonly message: Uint8Array; readonly mac: Uint8Array }[]
    },
  ): Promise<boolean[]>
  /** authenticate ki.id, unwrap operatorKey.id (OP). AUTN (TS 33.102 6.3.2), 16 bytes, for RAND (16), SQN (6) and AMF (2). CK and IK are not computed. */
  milenageChallenge(
    permit: Permit,
    request: { readonly ki: StoredKey; readonly operatorKey: StoredKey; readonly rand: Uint8Array; readonly sqn: Uint8Array; readonly amf: Uint8Array },
  ): Promise<Uint8Array>
  /** authenticate ki.id, unwrap operatorKey.id (OP). Compares in the lane: XRES and XMAC-S stay there. */
  milenageAnswer(
    permit: Permit,
    request: { readonly ki: StoredKey; readonly operatorKey: StoredKey; readonly rand: Uint8Array; readonly answer: MilenageAnswer },
  ): Promise<MilenageVerdict>
  /** derive master.id, wrap transportKeyId, unwrap operatorKey.id (OP). The keys of each card, in the order of the plan. `kdd`: EF.ICCID, 10 bytes. */
  fillCards(
    permit: Permit,
    request: {
      readonly master: CardMaster
      readonly operatorKey: StoredKey
      readonly transportKeyId: KeyId
      readonly plan: readonly CardKeyPlan[]
      readonly kdds: readonly Uint8Array[]
    },
  ): Promise<FilledKey[][]>
}

/** What a caller's key encrypts. */
export interface Plain {
  readonly plaintext: Uint8Array
  /** Additional authenticated data: not encrypted, and demanded again at decryption. May be empty. */
  readonly aad: Uint8Array
}

/** What was encrypted: IV (12 bytes) || ciphertext || tag (16 bytes). */
export interface Encrypted {
  readonly ciphertext: Uint8Array
  readonly aad: Uint8Array
}

/**
 * AES-256-GCM (SP 800-38D) by keys of algorithm aes-gcm-256. Permits and problems as of {@link Hsm}.
 * Each IV is made in the lane by the token's generator (8.2.2, random construction, 96 bits): at most 2^32 messages are encrypted under one key (8.3).
 * Nothing counts them here: whoever encrypts that many makes a new key before.
 */
export interface Ciphers {
  /** encrypt key.id. IV (12 bytes) || ciphertext || tag (16 bytes) of each. */
  encrypt(permit: Permit, key: StoredKey, items: readonly Plain[]): Promise<Uint8Array[]>
  /** decrypt key.id. `undefined` where the tag is wrong: of another key, with another AAD, altered, or not of that form. */
  decrypt(permit: Permit, key: StoredKey, items: readonly Encrypted[]): Promise<(Uint8Array | undefined)[]>
}

/** What the token itself tells of a key that it holds. */
export interface TokenKeyAttributes {
  /** Of the token. */
  readonly serial: string
  readonly label: string
  readonly class: 'secret' | 'private'
  readonly keyType: string
  /** `local`: CKA_LOCAL, and so on; those that the token knows. */
  readonly flags: Readonly<Record<string, boolean>>
  /** The flags CKA_SIGN, CKA_WRAP ... that are set. */
  readonly uses: readonly string[]
  /** CKA_ALLOWED_MECHANISMS; empty where the token keeps none. */
  readonly mechanisms: readonly number[]
}

/** What can be told of keys that live in the token: no key is used. */
export interface TokenKeys {
  /** Read from the token now. Undefined where it has no such key. */
  readAttributes(keyId: KeyId): Promise<TokenKeyAttributes | undefined>
}

/** What came of a key that was to be under the current storage KEK. `current`: it was already. `refused`: its row is not what the service wrote, or it opens under no generation. */
export type Rewrapped = { readonly how: 'current' | 'refused' } | { readonly how: 'rewrapped'; readonly wrapped: Uint8Array }

/** Generations of the root keys: made, worked towards, and destroyed while the service runs. Permits and problems as of {@link Hsm}. */
export interface RootKeyCeremonies {
  /** Whether the security officer's PIN is at hand, without which no key is made TRUSTED. */
  hasOfficer(): boolean
  /** The id of the generation that this process makes new things with. */
  currentGeneration(key: RotatedKey): KeyId
  /** ceremony keyId. Beside those that are there. One of this id that is there and was never recorded is destroyed first. */
  makeGeneration(permit: Permit, keyId: KeyId): Promise<GenerationMade>
  /** ceremony keyId. Whether it was there. What is under it opens never more. */
  destroyGeneration(permit: Permit, request: { readonly keyId: KeyId; readonly successor: KeyId }): Promise<boolean>
  /** unwrap from, wrap to. Opens each key, and wraps those that are not under `to`, the current generation; a new blob is proved to hold the same key. */
  rewrap(permit: Permit, request: { readonly from: KeyId; readonly to: KeyId; readonly keys: readonly StoredKey[] }): Promise<Rewrapped[]>
}
