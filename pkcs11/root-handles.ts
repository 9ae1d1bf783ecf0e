import { createHash, createPublicKey, verify } from 'node:crypto'
import type { Handle } from 'pkcs11js'
import type { KeyId } from '../core/ids.ts'
import { kcvOf } from './algorithms.ts'
import { CKK, CKM, ed25519Spki, p256Spki } from './mechanisms.ts'
import { type GenerationsInUse, generationId, parseGeneration, ROTATED_KEY_NAMES, type RotatedKey, type SecretIdentity } from './root-key-generations.ts'
import { isFromBefore, isSame, lackingKeys, type RootKeyIdentity, SIGNING_KEYS, SYSTEM_KEYS, type TokenIdentity } from './root-keys.ts'
import { CKA, CKO, type KeySpec } from './templates.ts'
import type { Token } from './token.ts'

export interface SigningKey {
  readonly handle: Handle
  readonly algorithm: 'ec-p256' | 'ed25519'
  readonly publicKey: Buffer // SPKI DER
}

/** A generation of a root key in the token. */
export interface GenerationHandle {
  readonly id: KeyId
  readonly handle: Handle
}

/** The generations of one root key. */
export interface RotatedHandles {
  /** Undefined while there are several and nobody has said which: then nothing new is made. */
  readonly current: GenerationHandle | undefined
  /** The newest first. */
  readonly all: readonly GenerationHandle[]
}

/** The root keys, found in a token by their labels. */
export interface RootHandles {
  readonly rotated: Readonly<Record<RotatedKey, RotatedHandles>>
  readonly blindIndex: Handle
  readonly pepper: Handle
  readonly checkpoint: SigningKey
  readonly signing: ReadonlyMap<KeyId, SigningKey>
}

/** Those of a token from before the later ones came: for who looks at it, restores it, or adds them. */
export type RootHandlesOfBefore = Omit<RootHandles, 'pepper'> & { readonly pepper: Handle | undefined }

/** Some root keys are missing from the token. */
export class RootKeysMissing extends Error {
  override readonly name = 'RootKeysMissing'
  readonly missing: readonly KeyId[]

  constructor(missing: readonly KeyId[]) {
    super(lackingKeys(missing))
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

/** The generations of a root key that a token has, the newest first. */
export function generationLabels(token: Token, key: RotatedKey): KeyId[] {
  const numbers = token.listLabels(CKO.SECRET).flatMap((label) => {
    const generation = parseGeneration(label)
    return generation?.key === key ? [generation.number] : []
  })
  return numbers.sort((a, b) => b - a).map((number) => generationId({ key, number }))
}

/** The root keys that a token lacks, of all there must be: one generation at least of those that are rotated. */
export const missingRootKeys = (token: Token): KeyId[] => [
  ...ROTATED_KEY_NAMES.filter((key) => generationLabels(token, key).length === 0).map((key) => generationId({ key, number: 1 })),
  ...[SYSTEM_KEYS.blindIndex, SYSTEM_KEYS.pepper].filter((id) => token.find(CKO.SECRET, id) === undefined),
  ...[checkpointLabels(token).at(-1) ?? SYSTEM_KEYS.checkpoint, ...SIGNING_KEYS].filter(
    (id) => token.find(CKO.PRIVATE, id) === undefined || token.find(CKO.PUBLIC, id) === undefined,
  ),
]

/** `inUse`: the generations to find. Absent: all that are in the token, for who opens and checks, or where there is one of each. Throws {@link RootKeysMissing}. */
export function findRootKeys(token: Token, inUse?: GenerationsInUse): RootHandles {
  const missing = missingRootKeys(token)
  if (missing.length > 0) throw new RootKeysMissing(missing)
  const { pepper, ...others } = handlesOf(token, { missing, inUse })
  if (pepper === undefined) throw new RootKeysMissing([SYSTEM_KEYS.pepper])
  return { ...others, pepper }
}

/** As {@link findRootKeys}, but of what came with a later version only those that are there. */
export function findRootKeysOfBefore(token: Token): RootHandlesOfBefore {
  const missing = missingRootKeys(token)
  if (missing.length > 0 && !isFromBefore(missing)) throw new RootKeysMissing(missing)
  return handlesOf(token, { missing, inUse: undefined })
}

function handlesOf(
  token: Token,
  { missing, inUse }: { readonly missing: readonly KeyId[]; readonly inUse: GenerationsInUse | undefined },
): RootHandlesOfBefore {
  return {
    rotated: {
      'storage-kek': rotatedHandles(token, 'storage-kek', inUse),
      'row-mac': rotatedHandles(token, 'row-mac', inUse),
      'group-mac': rotatedHandles(token, 'group-mac', inUse),
    },
    blindIndex: token.find(CKO.SECRET, SYSTEM_KEYS.blindIndex) as Handle,
    checkpoint: signingKey(token, checkpointLabels(token).at(-1) ?? SYSTEM_KEYS.checkpoint),
    pepper: token.find(CKO.SECRET, SYSTEM_KEYS.pepper),
    signing: new Map(SIGNING_KEYS.filter((id) => !missing.includes(id)).map((id) => [id, signingKey(token, id)])),
  }
}

function rotatedHandles(token: Token, key: RotatedKey, inUse: GenerationsInUse | undefined): RotatedHandles {
  const find = (id: KeyId): GenerationHandle => {
    const handle = token.find(CKO.SECRET, id)
    if (handle === undefined) throw new RootKeysMissing([id])
    return { id, handle }
  }
  if (inUse === undefined) {
    const all = generationLabels(token, key).map(find)
    return { all, current: all.length === 1 ? all[0] : undefined }
  }
  const numbered = inUse.keys.flatMap(({ identity, isCurrent }) => {
    const generation = parseGeneration(identity.keyId)
    return generation?.key === key ? [{ ...find(identity.keyId), isCurrent, number: generation.number }] : []
  })
  const all = numbered.sort((a, b) => b.number - a.number)
  const current = all.find(({ isCurrent }) => isCurrent)
  if (current === undefined) throw new Error(`no generation of ${key} is current`)
  return { all, current }
}

/** The generation that new things are made with. Throws where there are several, and nobody has said which. */
export function currentOf({ rotated }: Pick<RootHandles, 'rotated'>, key: RotatedKey): Handle {
  const { current } = rotated[key]
  if (current === undefined) throw new Error(`the token has ${rotated[key].all.length} generations of ${key}, and it was not said which is current`)
  return current.handle
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
export function identify(token: Token, roots: RootHandlesOfBefore): TokenIdentity {
  const keys: RootKeyIdentity[] = [
    ...ROTATED_KEY_NAMES.flatMap((key) => roots.rotated[key].all.map((one) => identifyGeneration(token, key, one))),
    macIdentity(token, SYSTEM_KEYS.blindIndex, roots.blindIndex),
    ...(roots.pepper === undefined ? [] : [pepperIdentity(token, roots.pepper)]),
  ]
  for (const [keyId, key] of [...roots.signing, [SYSTEM_KEYS.checkpoint, roots.checkpoint] as const]) {
    assertPair(token, keyId, key)
    keys.push({ keyId, algorithm: key.algorithm, publicKey: key.publicKey })
  }
  return { serial: token.serial, label: token.label, keys: keys.sort((a, b) => (a.keyId < b.keyId ? -1 : 1)) }
}

export const identifyGeneration = (token: Token, key: RotatedKey, { id, handle }: GenerationHandle): SecretIdentity =>
  key === 'storage-kek' ? { keyId: id, algorithm: 'aes-256', kcv: { method: 'aes-kwp', value: kwpCheckValue(token, handle) } } : macIdentity(token, id, handle)

const macIdentity = (token: Token, keyId: KeyId, key: Handle): SecretIdentity => ({
  keyId,
  algorithm: 'aes-256',
  kcv: { method: 'aes-cmac', value: kcvOf(token, 'aes-cmac', key) },
})

/** A key that does HMAC-SHA-256 alone tells its check value by that: over 00 * 16, which is no message of a purpose (see `PEPPER_PURPOSES`). */
const pepperIdentity = (token: Token, key: Handle): RootKeyIdentity => ({
  keyId: SYSTEM_KEYS.pepper,
  algorithm: 'hmac-sha256',
  kcv: { method: 'hmac-sha256', value: kcvOf(token, 'hmac-sha256', key) },
})

/** Throws where a generation is another key than was recorded. */
export function assertGenerations(token: Token, { rotated }: RootHandles, { keys }: GenerationsInUse): void {
  for (const { identity } of keys) {
    const key = parseGeneration(identity.keyId)?.key
    const one = key && rotated[key].all.find(({ id }) => id === identity.keyId)
    if (key === undefined || one === undefined || !isSame(identity, identifyGeneration(token, key, one)))
      throw new Error(`the root key ${identity.keyId} is another one than was recorded`)
  }
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
