import { createHash, createPublicKey, verify } from 'node:crypto'
import type { Handle } from 'pkcs11js'
import type { KeyId } from '../core/ids.ts'
import { kcvOf } from './algorithms.ts'
import { CKK, CKM, ed25519Spki, p256Spki } from './mechanisms.ts'
import { MAC_KEYS, type RootKeyIdentity, SIGNING_KEYS, SYSTEM_KEYS, type TokenIdentity } from './root-keys.ts'
import { CKA, CKO, type KeySpec } from './templates.ts'
import type { Token } from './token.ts'

export interface SigningKey {
  readonly handle: Handle
  readonly algorithm: 'ec-p256' | 'ed25519'
  readonly publicKey: Buffer // SPKI DER
}

/** The root keys, found in a token by their labels. */
export interface RootHandles {
  readonly storageKek: Handle
  /** row MAC, group MAC, blind index. */
  readonly mac: ReadonlyMap<KeyId, Handle>
  readonly checkpoint: SigningKey
  readonly signing: ReadonlyMap<KeyId, SigningKey>
}

/** Some root keys are missing from the token. */
export class RootKeysMissing extends Error {
  override readonly name = 'RootKeysMissing'
  readonly missing: readonly KeyId[]

  constructor(missing: readonly KeyId[]) {
    super(`the token lacks ${missing.join(', ')}`)
    this.missing = missing
  }
}

/**
 * The labels of the checkpoint keys in a token, the newest last. There is one, but while it is replaced: its successor is `root:checkpoint-2` and so on, since
 * the label of a key that is not modifiable stays.
 */
export function checkpointLabels(token: Token): KeyId[] {
  const first = token.find(CKO.PRIVATE, SYSTEM_KEYS.checkpoint) === undefined ? [] : [SYSTEM_KEYS.checkpoint]
  const numbered = token
    .listLabels(CKO.PRIVATE)
    .flatMap((label) => /^root:checkpoint-([1-9]\d{0,5})$/.exec(label)?.[1] ?? [])
    .map(Number)
    .sort((a, b) => a - b)
  return [...first, ...numbered.map((number) => `${SYSTEM_KEYS.checkpoint}-${number}` as KeyId)]
}

/** The root keys that a token lacks, of all there must be. */
export const missingRootKeys = (token: Token): KeyId[] => [
  ...[SYSTEM_KEYS.storageKek, ...MAC_KEYS].filter((id) => token.find(CKO.SECRET, id) === undefined),
  ...[checkpointLabels(token).at(-1) ?? SYSTEM_KEYS.checkpoint, ...SIGNING_KEYS].filter(
    (id) => token.find(CKO.PRIVATE, id) === undefined || token.find(CKO.PUBLIC, id) === undefined,
  ),
]

/** Throws {@link RootKeysMissing}. */
export function findRootKeys(token: Token): RootHandles {
  const missing = missingRootKeys(token)
  if (missing.length > 0) throw new RootKeysMissing(missing)
  const secret = (id: KeyId): Handle => token.find(CKO.SECRET, id) as Handle
  return {
    storageKek: secret(SYSTEM_KEYS.storageKek),
    mac: new Map(MAC_KEYS.map((id) => [id, secret(id)])),
    checkpoint: signingKey(token, checkpointLabels(token).at(-1) ?? SYSTEM_KEYS.checkpoint),
    signing: new Map(SIGNING_KEYS.map((id) => [id, signingKey(token, id)])),
  }
}

/** The pair of a label. */
export function signingKey(token: Token, id: KeyId): SigningKey {
  const handle = token.find(CKO.PRIVATE, id) as Handle
  const publicHandle = token.find(CKO.PUBLIC, id) as Handle
  const edwards = token.read(handle, CKA.KEY_TYPE).readUInt32LE(0) === CKK.EC_EDWARDS
  const ecPoint = token.read(publicHandle, CKA.EC_POINT)
  return edwards ? { handle, algorithm: 'ed25519', publicKey: ed25519Spki(ecPoint) } : { handle, algorithm: 'ec-p256', publicKey: p256Spki(ecPoint) }
}

const WRAPPED_ZEROS: KeySpec = { class: CKO.SECRET, keyType: CKK.AES, uses: [], mechanisms: [], extractable: true }

/** AES-KWP(key, 00 * 16), first 5 bytes: a check value of a key that can only wrap. */
export function kwpCheckValue(token: Token, wrapping: Handle, insecurePublic = false): Buffer {
  const zeros = token.importKey(token.form({ ...WRAPPED_ZEROS, insecurePublic }), { type: CKA.VALUE, value: Buffer.alloc(16) })
  try {
    return Buffer.from(token.wrap(wrapping, zeros).subarray(0, 5))
  } finally {
    token.destroy(zeros)
  }
}

/** What the database remembers of the token. Every key is used once for it, and each public part is checked against its private one. */
export function identify(token: Token, roots: RootHandles): TokenIdentity {
  const keys: RootKeyIdentity[] = [
    { keyId: SYSTEM_KEYS.storageKek, algorithm: 'aes-256', kcv: { method: 'aes-kwp', value: kwpCheckValue(token, roots.storageKek) } },
    ...[...roots.mac].map(([keyId, key]) => ({
      keyId,
      algorithm: 'aes-256' as const,
      kcv: { method: 'aes-cmac' as const, value: kcvOf(token, 'aes-cmac', key) },
    })),
  ]
  for (const [keyId, key] of [...roots.signing, [SYSTEM_KEYS.checkpoint, roots.checkpoint] as const]) {
    assertPair(token, keyId, key)
    keys.push({ keyId, algorithm: key.algorithm, publicKey: key.publicKey })
  }
  return { serial: token.serial, label: token.label, keys: keys.sort((a, b) => (a.keyId < b.keyId ? -1 : 1)) }
}

/** A public object can be edited by who can write the token's folder; a private one cannot. The signed bytes are no structure that anything accepts. */
function assertPair(token: Token, keyId: KeyId, key: SigningKey): void {
  const message = Buffer.alloc(32, 0xa5)
  const edwards = key.algorithm === 'ed25519'
  const signature = token.sign(edwards ? CKM.EDDSA : CKM.ECDSA, key.handle, edwards ? message : createHash('sha256').update(message).digest(), Buffer.alloc(64))
  const publicKey = createPublicKey({ key: key.publicKey, format: 'der', type: 'spki' })
  const good = edwards ? verify(null, message, publicKey, signature) : verify('sha256', message, { key: publicKey, dsaEncoding: 'ieee-p1363' }, signature)
  if (!good) throw new Error(`the public and the private part of ${keyId} do not belong together`)
}
