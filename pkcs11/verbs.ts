import { timingSafeEqual } from 'node:crypto'
import type { Handle, Mechanism } from 'pkcs11js'
import type { KeyId } from '../core/ids.ts'
import { frame, unframe } from '../core/bytes.ts'
import { freshSpec, isKeyAlgorithm, kcvOf, P256_PUBLIC, SECRET_ALGORITHMS } from './algorithms.ts'
import { cryptokiError } from './errors.ts'
import { fillCards } from './fill-cards.ts'
import { decryptGcm, encryptGcm, GCM_IV_BYTES, GCM_TAG_BYTES } from './gcm.ts'
import type { GeneratedKey, KeyAlgorithm } from './contract.ts'
import { keepHead, readHeads } from './kept-head.ts'
import { readKeyAttributes } from './key-attributes.ts'
import { cardKeySpec, kdf3Block, type LaneKeys, type SealedBytes } from './lane-keys.ts'
import { CKM, P256_PARAMS, p256Spki } from './mechanisms.ts'
import { checkMilenageResponse, milenageChallenge, resynchronise } from './milenage.ts'
import { NO_BYTES } from './no-bytes.ts'
import { makeOtpSecret, otpHmac } from './otp-secret.ts'
import { pepper } from './pepper.ts'
import { selfTest } from './probe.ts'
import type { ProbeName } from './probe-names.ts'
import { rewrap } from './rewrap.ts'
import { generationLabels, identify } from './root-handles.ts'
import { CKA, CKO } from './templates.ts'
import type { Token } from './token.ts'

const DIGEST = 32
const SIGNATURE = 64
const MAC = 16
const SIGNATURE_INVALID = 0xc0
const SIGNATURE_LEN_RANGE = 0xc1

/**
 * Everything that a lane can be asked. There is no verb that creates a key from a value, reads one that is there, or names a mechanism or an attribute:
 * a captured service gets from a lane what these give and no more.
 * Lists of messages come framed (core/bytes.ts), lists of digests and results of one length run together.
 */
export const VERBS = {
  identify: (keys: LaneKeys) => identify(keys.token, keys.roots),

  readAttributes: readKeyAttributes,

  selfTest: (keys: LaneKeys, { ignore }: { readonly ignore: readonly ProbeName[] }) => selfTest(keys.token, ignore),

  generate: (keys: LaneKeys, { algorithm }: { readonly algorithm: KeyAlgorithm }): GeneratedKey =>
    algorithm === 'ec-p256' ? generatePair(keys) : generateSecret(keys, algorithm),

  /** `items`: digests for ec-p256, framed messages for hmac-sha256. */
  sign: (keys: LaneKeys, { key, items }: { readonly key: SealedBytes; readonly items: Uint8Array }): Buffer => {
    const loaded = keys.load(key)
    if (loaded.algorithm === 'ec-p256') return signDigests(keys, loaded.handle, items)
    if (loaded.algorithm === 'hmac-sha256') return signEach(keys, CKM.SHA256_HMAC, loaded.handle, unframe(items), DIGEST)
    throw new Error(`a key of algorithm ${loaded.algorithm} does not sign`)
  },

  /** `items`: framed pairs of digest (or message) and signature. One byte for each: 1 is right. */
  verify: (keys: LaneKeys, { key, items }: { readonly key: SealedBytes; readonly items: Uint8Array }): Buffer => {
    const loaded = keys.load(key)
    const fields = unframe(items)
    const answers = Buffer.alloc(fields.length / 2)
    const right = { 'ec-p256': verifyDigest, 'hmac-sha256': verifyHmac } as const
    if (loaded.algorithm !== 'ec-p256' && loaded.algorithm !== 'hmac-sha256') throw new Error(`a key of algorithm ${loaded.algorithm} does not verify`)
    const handle = loaded.algorithm === 'ec-p256' ? keys.publicKey(loaded) : loaded.handle
    for (let at = 0; at < answers.length; at++) {
      answers[at] = right[loaded.algorithm](keys, handle, fields[2 * at] as Uint8Array, fields[2 * at + 1] as Uint8Array) ? 1 : 0
    }
    return answers
  },

  /** `items`: framed plaintext and AAD by turns. Framed IV || ciphertext || tag of each; the IVs are of the token's generator. */
  encrypt: (keys: LaneKeys, { key, items }: { readonly key: SealedBytes; readonly items: Uint8Array }): Uint8Array =>
    encryptEach(keys, gcmKey(keys, key), unframe(items)),

  /** `items`: framed IV || ciphertext || tag and AAD by turns. Framed by turns one byte, 1 where the tag is right, and the plaintext. */
  decrypt: (keys: LaneKeys, { key, items }: { readonly key: SealedBytes; readonly items: Uint8Array }): Uint8Array =>
    decryptEach(keys, gcmKey(keys, key), unframe(items)),

  mac: (keys: LaneKeys, { key, messages }: { readonly key: SealedBytes; readonly messages: Uint8Array }): Buffer => {
    const loaded = keys.load(key)
    if (!loaded.algorithm.startsWith('aes-cmac')) throw new Error(`a key of algorithm ${loaded.algorithm} does not MAC`)
    return signEach(keys, CKM.AES_CMAC, loaded.handle, unframe(messages), MAC)
  },

  signWithRoot: (keys: LaneKeys, { keyId, digests }: { readonly keyId: KeyId; readonly digests: Uint8Array }): Buffer => {
    const key = keys.roots.signing.get(keyId)
    if (key === undefined) throw new Error(`${keyId} is not a root key that operations may name`)
    return signDigests(keys, key.handle, digests)
  },

  fillCards,

  rewrap,

  /** `items`: framed EF.ICCID, message and MAC by turns. One byte for each: 1 is right. */
  checkCardMacs: (keys: LaneKeys, { master, type, items }: { readonly master: SealedBytes; readonly type: number; readonly items: Uint8Array }): Buffer =>
    checkCardMacs(keys, { master, type, fields: unframe(items) }),

  milenageChallenge,
  checkMilenageResponse,
  resynchronise,

  macRows: (keys: LaneKeys, { rows }: { readonly rows: Uint8Array }): Buffer => macEach(keys, keys.current('row-mac'), unframe(rows)),

  /** `pairs`: framed row and MAC by turns. One byte for each: 1 is right, 2 is right by a generation that is not current any more. */
  checkRows: (keys: LaneKeys, { pairs }: { readonly pairs: Uint8Array }): Buffer => checkEach(keys, 'row-mac', unframe(pairs)),

  /** The same by every row-MAC key of the token. One byte for each: 1 is right. */
  checkRowsByToken: (keys: LaneKeys, { pairs }: { readonly pairs: Uint8Array }): Buffer => checkRowsByToken(keys, unframe(pairs)),

  macGroups: (keys: LaneKeys, { messages }: { readonly messages: Uint8Array }): Buffer => macEach(keys, keys.current('group-mac'), unframe(messages)),

  checkGroups: (keys: LaneKeys, { pairs }: { readonly pairs: Uint8Array }): Buffer => checkEach(keys, 'group-mac', unframe(pairs)),

  /** `message`: the text for Ed25519, its digest for ECDSA. */
  signCheckpoint: (keys: LaneKeys, { message }: { readonly message: Uint8Array }): Buffer => {
    const { handle, algorithm } = keys.roots.checkpoint
    return keys.token.sign(algorithm === 'ed25519' ? CKM.EDDSA : CKM.ECDSA, handle, message, Buffer.alloc(SIGNATURE))
  },

  keepHead,
  readHeads,

  pepper,
  makeOtpSecret,
  otpHmac,

  blindIndex: (keys: LaneKeys, { values }: { readonly values: Uint8Array }): Buffer => macEach(keys, keys.roots.blindIndex, unframe(values)),
} as const

type VerbTable = typeof VERBS
export type VerbName = keyof VerbTable
export type VerbArguments<Name extends VerbName> = Parameters<VerbTable[Name]>[1]
export type VerbResult<Name extends VerbName> = Awaited<ReturnType<VerbTable[Name]>>

/** A verb as the lane's loop sees it. */
export type Verb = (keys: LaneKeys, args: never) => unknown

function generatePair(keys: LaneKeys): GeneratedKey {
  const { token } = keys
  const pair = token.generatePair(CKM.EC_KEY_PAIR_GEN, P256_PARAMS, token.form(P256_PUBLIC), token.form(freshSpec('ec-p256')))
  try {
    return { wrapped: token.wrap(keys.current('storage-kek'), pair.privateKey), publicKey: p256Spki(token.read(pair.publicKey, CKA.EC_POINT)) }
  } finally {
    token.destroy(pair.privateKey, pair.publicKey)
  }
}

function generateSecret(keys: LaneKeys, algorithm: Exclude<KeyAlgorithm, 'ec-p256'>): GeneratedKey {
  const { token } = keys
  if (!isKeyAlgorithm(algorithm)) throw new RangeError('keys of this algorithm are not made for callers')
  const { lengthBytes, kcv } = SECRET_ALGORITHMS[algorithm]
  const key = token.generate(token.form(freshSpec(algorithm)), lengthBytes)
  try {
    return { wrapped: token.wrap(keys.current('storage-kek'), key), kcv: { method: kcv, value: kcvOf(token, kcv, key) } }
  } finally {
    token.destroy(key)
  }
}

/** CKM_ECDSA over ready digests: raw r||s, 64 bytes each. */
function signDigests(keys: LaneKeys, key: Handle, digests: Uint8Array): Buffer {
  if (digests.length % DIGEST !== 0) throw new RangeError('digests have 32 bytes')
  const each = Array.from({ length: digests.length / DIGEST }, (_, at) => digests.subarray(at * DIGEST, (at + 1) * DIGEST))
  return signEach(keys, CKM.ECDSA, key, each, SIGNATURE)
}

/** Signatures or MACs of one length, one after the other. The calls are bare: what `Token.sign` puts around each is felt beside a MAC of 9 microseconds. */
function signEach({ token }: LaneKeys, mechanism: number, key: Handle, messages: readonly Uint8Array[], lengthBytes: number): Buffer {
  const { lib, handle } = token
  const by = { mechanism }
  const [out, one] = [Buffer.alloc(messages.length * lengthBytes), Buffer.alloc(lengthBytes)]
  token.ask(mechanism, () => {
    let at = 0
    for (const message of messages) {
      lib.C_SignInit(handle, by, key)
      if (lib.C_Sign(handle, (message.length === 0 ? NO_BYTES : message) as Buffer, one).length !== lengthBytes)
        throw new Error('the token gave a signature of another length')
      out.set(one, at)
      at += lengthBytes
    }
  })
  return out
}

function gcmKey(keys: LaneKeys, key: SealedBytes): Handle {
  const { algorithm, handle } = keys.load(key)
  if (algorithm !== 'aes-gcm-256') throw new Error(`a key of algorithm ${algorithm} does not encrypt by GCM`)
  return handle
}

function encryptEach({ token }: LaneKeys, key: Handle, fields: readonly Uint8Array[]): Uint8Array {
  const ivs = token.lib.C_GenerateRandom(token.handle, Buffer.alloc((GCM_IV_BYTES * fields.length) / 2))
  const lengthOf = (data: Uint8Array): number => GCM_IV_BYTES + data.length + GCM_TAG_BYTES
  // Framed in place: a Buffer for each, and their copies, cost a tenth of an encryption.
  const out = Buffer.alloc(fields.reduce((total, field, at) => total + (at % 2 === 0 ? 4 + lengthOf(field) : 0), 0))
  let to = 0
  for (let at = 0; at < fields.length; at += 2) {
    const [data, aad] = [fields[at], fields[at + 1]] as [Buffer, Buffer]
    const iv = ivs.subarray((at / 2) * GCM_IV_BYTES, (at / 2 + 1) * GCM_IV_BYTES)
    to = out.writeUInt32BE(lengthOf(data), to)
    out.set(iv, to)
    encryptGcm(token, key, { iv, data, aad }, out.subarray(to + GCM_IV_BYTES, to + lengthOf(data)))
    to += lengthOf(data)
  }
  return out
}

const [WRONG, RIGHT] = [Buffer.from([0]), Buffer.from([1])]

function decryptEach({ token }: LaneKeys, key: Handle, fields: readonly Uint8Array[]): Uint8Array {
  const out: Buffer[] = []
  for (let at = 0; at < fields.length; at += 2) {
    const [whole, aad] = [fields[at], fields[at + 1]] as [Buffer, Buffer]
    const plaintext = decryptGcm(token, key, { iv: whole.subarray(0, GCM_IV_BYTES), data: whole.subarray(GCM_IV_BYTES), aad })
    out.push(plaintext === undefined ? WRONG : RIGHT, plaintext ?? Buffer.alloc(0))
  }
  return frame(out)
}

const macEach = (keys: LaneKeys, key: Handle, messages: readonly Uint8Array[]): Buffer => signEach(keys, CKM.AES_CMAC, key, messages, MAC)

/** One byte for each pair: 0 is wrong, 1 of the current generation, 2 of one before it. */
function checkEach(keys: LaneKeys, key: 'row-mac' | 'group-mac', fields: readonly Uint8Array[]): Buffer {
  const answers = Buffer.alloc(fields.length / 2)
  const { current } = keys.roots.rotated[key]
  for (let at = 0; at < answers.length; at++) {
    const by = keys.sealedBy(key, fields[2 * at] as Uint8Array, fields[2 * at + 1] as Uint8Array)
    if (by !== undefined) answers[at] = current === undefined || by.id === current.id ? 1 : 2
  }
  return answers
}

function checkRowsByToken({ token }: LaneKeys, fields: readonly Uint8Array[]): Buffer {
  const all = generationLabels(token, 'row-mac').map((label) => token.find(CKO.SECRET, label) as Handle)
  const answers = Buffer.alloc(fields.length / 2)
  for (let at = 0; at < answers.length; at++) {
    const [row, mac] = [fields[2 * at] as Uint8Array, fields[2 * at + 1] as Uint8Array]
    answers[at] = mac.length === MAC && all.some((key) => timingSafeEqual(token.cmac(key, row), mac)) ? 1 : 0
  }
  return answers
}

function checkCardMacs(keys: LaneKeys, { master, type, fields }: { master: SealedBytes; type: number; fields: readonly Uint8Array[] }): Buffer {
  const { token } = keys
  const { handle, k1 } = keys.master(master)
  const form = token.form({ ...cardKeySpec('aes-cmac'), extractable: false, wrapWithTrusted: false })
  const answers = Buffer.alloc(fields.length / 3)
  for (let at = 0; at < answers.length; at++) {
    const [kdd, message, mac] = fields.slice(3 * at, 3 * at + 3) as [Uint8Array, Uint8Array, Uint8Array]
    const key = token.deriveCbc(handle, k1, kdf3Block(type, kdd), form)
    try {
      const right = token.cmac(key, message)
      answers[at] = mac.length === MAC && timingSafeEqual(right, mac) ? 1 : 0
      right.fill(0)
    } finally {
      token.destroy(key)
    }
  }
  return answers
}

const verifyDigest = ({ token }: LaneKeys, key: Handle, digest: Uint8Array, signature: Uint8Array): boolean =>
  digest.length === DIGEST && signature.length === SIGNATURE && isSignature(token, { mechanism: CKM.ECDSA }, key, { data: digest, signature })

/** Whether the token says that a signature is right. */
export function isSignature(
  token: Token,
  mechanism: Mechanism,
  key: Handle,
  { data, signature }: { readonly data: Uint8Array; readonly signature: Uint8Array },
): boolean {
  token.ask(mechanism.mechanism, () => token.lib.C_VerifyInit(token.handle, mechanism, key))
  try {
    return token.lib.C_Verify(token.handle, data as Buffer, signature as Buffer)
  } catch (error) {
    const code = cryptokiError(error)?.code
    if (code === SIGNATURE_INVALID || code === SIGNATURE_LEN_RANGE) return false
    throw error
  }
}

function verifyHmac({ token }: LaneKeys, key: Handle, message: Uint8Array, signature: Uint8Array): boolean {
  const right = token.sign(CKM.SHA256_HMAC, key, message, Buffer.alloc(DIGEST))
  return signature.length === DIGEST && timingSafeEqual(right, signature)
}
