import { createHash, createPrivateKey, createPublicKey, privateDecrypt, verify } from 'node:crypto'
import type { Handle } from 'pkcs11js'
import { freshSpec, kcvOf, loadedSpec, OTP_SPEC, P256_PUBLIC } from './algorithms.ts'
import { decryptGcm, encryptGcm } from './gcm.ts'
import { KNOWN_ANSWERS } from './known-answers.ts'
import { createHead, listHeads } from './kept-head.ts'
import { cardKeySpec, kdf3Block } from './lane-keys.ts'
import { masterK1 } from './master-k1.ts'
import { CKK, CKM, ED25519_PARAMS, ed25519Spki, type MechanismName, P256_PARAMS, p256Point, p256Spki } from './mechanisms.ts'
import { autnOf, isResponse, milenage } from './milenage.ts'
import { wrapForRecipient } from './rsa-oaep.ts'
import { CKA, CKO, type KeySpec } from './templates.ts'
import type { Token } from './token.ts'
import { type Outcome, Trial } from './trial.ts'

/**
 * `start`: the service does not start without it. `feature`: what needs it is refused, by `mechanism-unsupported` (501) where the token says that it has none
 * of it, and all else works. `replaced`: something else takes its place.
 */
export type Need = 'start' | 'feature' | 'replaced'

export interface Capability {
  /** What the token is asked to do. */
  readonly title: string
  readonly mechanisms: readonly MechanismName[]
  /** What Gridseal does with it. */
  readonly use: string
  readonly need: Need
  /**
   * Does it as the service does, by the same code where that can be, with throw-away keys, and compares with published values, or in software.
   * May answer a remark. Absent: it is not tried; `use` says why.
   */
  readonly trial?: (trial: Trial) => string | void
}

/** What Gridseal asks of a token: the one table, for the self-test at start, for `gridseal token check`, and for the README. */
export const CAPABILITIES = {
  'aes-keys': {
    title: 'session objects: AES keys by the token’s generator',
    mechanisms: ['AES_KEY_GEN'],
    use: 'every key but the root keys',
    need: 'start',
    trial: (trial) => {
      for (const lengthBytes of [16, 32]) trial.generate({ ...AES, uses: ['encrypt'], mechanisms: [CKM.AES_ECB] }, lengthBytes)
    },
  },
  'aes-cmac': {
    title: 'AES-CMAC',
    mechanisms: ['AES_CMAC'],
    use: 'MACs of rows, of the log, of cards; blind indexes',
    need: 'start',
    trial: tryCmac,
  },
  'aes-kwp': {
    title: 'AES-KWP (RFC 5649), wrap and unwrap',
    mechanisms: ['AES_KEY_WRAP_PAD', 'AES_KEY_WRAP_KWP'],
    use: 'every key outside the token: in the database, in deliveries',
    need: 'start',
    trial: tryKwp,
  },
  'p256': {
    title: 'P-256 key pairs, ECDSA',
    mechanisms: ['EC_KEY_PAIR_GEN', 'ECDSA'],
    use: 'CAs, deliveries, results, keys of modules and cards',
    need: 'start',
    trial: (trial) => {
      const { publicKey, privateKey } = trial.generatePair(CKM.EC_KEY_PAIR_GEN, P256_PARAMS, P256_PUBLIC, loadedSpec('ec-p256'))
      trial.expect('an ECDSA signature', signsP256(trial.token, privateKey, publicKey), true)
    },
  },
  'p256-wrapped': {
    title: 'P-256 private keys under AES-KWP, and back',
    mechanisms: ['AES_KEY_WRAP_PAD', 'AES_KEY_WRAP_KWP'],
    use: 'keys of modules and cards',
    need: 'feature',
    trial: tryWrappedP256,
  },
  'ecdsa-verify': {
    title: 'ECDSA, verification by a public key from outside',
    mechanisms: ['ECDSA'],
    use: 'signatures that modules ask about',
    need: 'feature',
    trial: tryEcdsaVerification,
  },
  'hmac-sha256': {
    title: 'HMAC-SHA-256',
    mechanisms: ['GENERIC_SECRET_KEY_GEN', 'SHA256_HMAC'],
    use: 'the pepper of passwords, keys of modules',
    need: 'start',
    trial: tryHmac,
  },
  'hmac-sha1': {
    title: 'HMAC-SHA-1 by a secret of 20 bytes, and that under AES-KWP and back',
    mechanisms: ['SHA_1_HMAC'],
    use: 'one-time codes of people',
    need: 'feature',
    trial: tryHmacSha1,
  },
  'aes-gcm': {
    title: 'AES-GCM',
    mechanisms: ['AES_GCM'],
    use: 'keys of modules that encrypt',
    need: 'feature',
    trial: tryGcm,
  },
  'aes-cbc-derive': {
    title: 'derivation by AES-CBC (KDF3)',
    mechanisms: ['AES_CBC_ENCRYPT_DATA'],
    use: 'keys of cards from a card master',
    need: 'feature',
    trial: tryKdf3,
  },
  'aes-ecb': {
    title: 'AES-ECB of one block (Milenage)',
    mechanisms: ['AES_ECB'],
    use: 'KCVs of cards’ keys, OPc, Milenage',
    need: 'feature',
    trial: tryMilenage,
  },
  'rsa-oaep': {
    title: 'RSA-OAEP with SHA-1, wrap under a key from outside',
    mechanisms: ['RSA_PKCS_OAEP'],
    use: 'transport keys to vendors, the backup KEK to another token',
    need: 'feature',
    trial: tryOaep,
  },
  'copy': {
    title: 'C_CopyObject to narrower flags',
    mechanisms: [],
    use: 'the storage KEK and transport keys: made by the officer, settled by the user',
    need: 'start',
    trial: tryCopy,
  },
  'ed25519': {
    title: 'Ed25519 key pairs and signatures',
    mechanisms: ['EC_EDWARDS_KEY_PAIR_GEN', 'EDDSA'],
    use: 'checkpoints of the log; else P-256',
    need: 'replaced',
    trial: tryEd25519,
  },
  'data-object': {
    title: 'data objects of the user',
    mechanisms: [],
    use: 'the log’s last signed head, once a minute; else it is kept in the file and by witnesses alone',
    need: 'replaced',
    trial: tryDataObject,
  },
  'trusted': {
    title: 'TRUSTED, set by the security officer',
    mechanisms: [],
    use: 'the storage KEK and transport keys; not tried, because it needs the officer’s PIN: the ceremony that makes one reads it back',
    need: 'start',
  },
} as const satisfies Readonly<Record<string, Capability>>

export type CapabilityName = keyof typeof CAPABILITIES
export const CAPABILITY_NAMES = Object.keys(CAPABILITIES) as readonly CapabilityName[]

/** Tries one. `undefined`: it is one that is not tried. */
export function tryCapability(token: Token, name: CapabilityName): Outcome | undefined {
  const { trial }: Capability = CAPABILITIES[name]
  return trial && Trial.run(token, trial)
}

const hex = (text: string): Buffer => Buffer.from(text, 'hex')
const TEXT = Buffer.from('gridseal self-test')

/** A session object: the check writes nothing into a token. That it takes one for good, the first head shows. */
function tryDataObject(trial: Trial): void {
  const { token } = trial
  const note = Buffer.from('gridseal self-test\n1\n')
  const head = createHead(token, 'gridseal self-test', note, { inToken: false })
  trial.expect('a data object that is found', listHeads(token, 'gridseal self-test').length === 1, true)
  trial.expect('the value of a data object', token.read(head, CKA.VALUE).equals(note), true)
  token.destroy(head)
}

const AES = { class: CKO.SECRET, keyType: CKK.AES } as const satisfies Partial<KeySpec>
const MAC_KEY: KeySpec = { ...AES, uses: ['sign'], mechanisms: [CKM.AES_CMAC] }
const ECB_KEY: KeySpec = { ...AES, uses: ['encrypt'], mechanisms: [CKM.AES_ECB] }

function tryCmac(trial: Trial): void {
  const key = trial.known(KNOWN_ANSWERS.cmac.key, MAC_KEY)
  KNOWN_ANSWERS.cmac.cases.forEach(({ message, mac }, at) => trial.expect(`RFC 4493 example ${at + 1}`, trial.token.cmac(key, hex(message)), mac))
}

function tryKwp(trial: Trial): string {
  const { token } = trial
  for (const [at, { kek, key, wrapped }] of KNOWN_ANSWERS.kwp.entries()) {
    const wrapping = trial.known(kek, { ...AES, uses: ['wrap'], mechanisms: [token.kwp] })
    const wrappee = trial.known(key, { ...AES, uses: [], mechanisms: [], extractable: true })
    trial.expect(`KWP value ${at + 1}`, token.wrap(wrapping, wrappee), wrapped)
  }
  const readable = token.form({ class: CKO.SECRET, keyType: CKK.GENERIC_SECRET, uses: [], mechanisms: [], extractable: true, insecureReadable: true })
  for (const [at, { kek, key, wrapped }] of KNOWN_ANSWERS.kwpUnwrap.entries()) {
    const unwrapping = trial.known(kek, { ...AES, uses: ['unwrap'], mechanisms: [token.kwp] })
    const unwrapped = token.unwrap(unwrapping, hex(wrapped), readable)
    trial.expect(`RFC 5649 example ${at + 1}`, token.read(unwrapped, CKA.VALUE), key)
  }
  return `as 0x${token.kwp.toString(16)}`
}

/** Whether a private key signs what its public one, in software, says is right. */
function signsP256(token: Token, privateKey: Handle, publicKey: Handle): boolean {
  const signature = token.sign(CKM.ECDSA, privateKey, createHash('sha256').update(TEXT).digest(), Buffer.alloc(64))
  const key = createPublicKey({ key: p256Spki(token.read(publicKey, CKA.EC_POINT)), format: 'der', type: 'spki' })
  return verify('sha256', TEXT, { key, dsaEncoding: 'ieee-p1363' }, signature)
}

function tryWrappedP256(trial: Trial): void {
  const { token } = trial
  const wrapping = trial.generate({ ...AES, uses: ['wrap', 'unwrap'], mechanisms: [token.kwp] }, 32)
  const { publicKey, privateKey } = trial.generatePair(CKM.EC_KEY_PAIR_GEN, P256_PARAMS, P256_PUBLIC, { ...freshSpec('ec-p256'), wrapWithTrusted: false })
  const unwrapped = token.unwrap(wrapping, token.wrap(wrapping, privateKey), token.form(loadedSpec('ec-p256')))
  trial.expect('a signature of an unwrapped P-256 key', signsP256(token, unwrapped, publicKey), true)
}

function tryEcdsaVerification(trial: Trial): void {
  const { lib, handle } = trial.token
  const { point, digest, signature } = KNOWN_ANSWERS.ecdsa
  const ecPoint = p256Point(p256Spki(hex(`04${point}`))) as Buffer
  const key = trial.import(P256_PUBLIC, { type: CKA.EC_PARAMS, value: P256_PARAMS }, { type: CKA.EC_POINT, value: ecPoint })
  const isRight = (bytes: Buffer): boolean => {
    trial.token.ask(CKM.ECDSA, () => lib.C_VerifyInit(handle, { mechanism: CKM.ECDSA }, key))
    let right = false
    return !trial.refuses(() => void (right = lib.C_Verify(handle, bytes, hex(signature)))) && right
  }
  trial.expect('RFC 6979 A.2.5', isRight(hex(digest)), true)
  trial.expect('RFC 6979 A.2.5 with another digest', isRight(Buffer.alloc(32)), false)
}

function tryHmac(trial: Trial): void {
  const spec: KeySpec = { class: CKO.SECRET, keyType: CKK.GENERIC_SECRET, uses: ['sign'], mechanisms: [CKM.SHA256_HMAC] }
  const { key, message, mac } = KNOWN_ANSWERS.hmac
  const hmac = (handle: Handle): Buffer => trial.token.sign(CKM.SHA256_HMAC, handle, hex(message), Buffer.alloc(32))
  trial.expect('RFC 4231 case 6', hmac(trial.known(key, spec)), mac)
  hmac(trial.generate(spec, 32))
}

function tryHmacSha1(trial: Trial): void {
  const { token } = trial
  const { secret, hmacs } = KNOWN_ANSWERS.hotp
  const hmac = (key: Handle, count: number): Buffer => {
    const counter = Buffer.alloc(8)
    counter.writeBigUInt64BE(BigInt(count))
    return token.sign(CKM.SHA_1_HMAC, key, counter, Buffer.alloc(20))
  }
  const known = trial.known(secret, { ...OTP_SPEC, extractable: true })
  hmacs.forEach((right, count) => trial.expect(`RFC 4226 D, count ${String(count)}`, hmac(known, count), right))
  const wrapping = trial.generate({ ...AES, uses: ['wrap', 'unwrap'], mechanisms: [token.kwp] }, 32)
  const unwrapped = token.unwrap(wrapping, token.wrap(wrapping, known), token.form(OTP_SPEC))
  trial.expect('RFC 4226 D, by an unwrapped secret', hmac(unwrapped, 0), hmacs[0])
}

function tryGcm(trial: Trial): void {
  const { key, iv, aad, message, sealed } = KNOWN_ANSWERS.gcm
  const handle = trial.known(key, loadedSpec('aes-gcm-256'))
  const out = Buffer.alloc(sealed.length / 2)
  const call = { iv: hex(iv), aad: hex(aad) }
  trial.token.ask(CKM.AES_GCM, () => encryptGcm(trial.token, handle, { ...call, data: hex(message) }, out))
  trial.expect('GCM test case 16', out, sealed)
  trial.expect('GCM test case 16, opened', decryptGcm(trial.token, handle, { ...call, data: hex(sealed) }) ?? Buffer.alloc(0), message)
  trial.expect('GCM test case 16 without its AAD', decryptGcm(trial.token, handle, { ...call, aad: Buffer.alloc(20), data: hex(sealed) }) === undefined, true)
}

function tryKdf3(trial: Trial): void {
  const { token } = trial
  const { master, kdd, kcvs } = KNOWN_ANSWERS.kdf3
  const base = trial.known(master, { ...AES, uses: ['derive'], mechanisms: [CKM.AES_CBC_ENCRYPT_DATA] })
  const k1 = masterK1(token, base)
  kcvs.forEach((kcv, at) => {
    const key = token.deriveCbc(base, k1, kdf3Block(at + 1, hex(kdd)), token.form(cardKeySpec('aes-gp')))
    trial.expect(`KDF3 type ${at + 1}`, kcvOf(token, 'aes-gp', key), kcv)
  })
}

function tryMilenage(trial: Trial): void {
  const { token } = trial
  const { key, block, encrypted } = KNOWN_ANSWERS.aes
  trial.expect('FIPS 197 C.1', token.encryptBlock(trial.known(key, ECB_KEY), hex(block)), encrypted)
  const { k, op, opc, rand, sqn, amf, autn, res } = KNOWN_ANSWERS.milenage
  const ki = trial.known(k, ECB_KEY)
  const opXor = token.encryptBlock(ki, hex(op)).map((byte, at) => byte ^ (hex(op)[at] ?? 0))
  trial.expect('TS 35.208 set 1, OPc', opXor, opc)
  milenage({ token, ki, opc: hex(opc), rand: hex(rand) }, (blocks) => {
    trial.expect('TS 35.208 set 1, f1 and f5', autnOf(blocks, hex(sqn), hex(amf)), autn)
    trial.expect('TS 35.208 set 1, f2', isResponse(blocks, hex(res)), true)
  })
}

function tryOaep(trial: Trial): void {
  const key = createPrivateKey({ key: Buffer.from(KNOWN_ANSWERS.rsa, 'base64'), format: 'der', type: 'pkcs1' })
  const recipient = createPublicKey(key).export({ format: 'der', type: 'spki' })
  const value = KNOWN_ANSWERS.kwp[1].key
  const wrappee = trial.known(value, { ...AES, uses: [], mechanisms: [], extractable: true })
  trial.expect('what OAEP wraps', privateDecrypt({ key, oaepHash: 'sha1' }, wrapForRecipient(trial.token, wrappee, recipient)), value)
}

function tryCopy(trial: Trial): void {
  const { lib, handle } = trial.token
  const [, { message, mac }] = KNOWN_ANSWERS.cmac.cases
  const original = trial.known(KNOWN_ANSWERS.cmac.key, { ...MAC_KEY, original: true, extractable: true })
  // The order of the ceremony, see officer.ts.
  const narrower = [
    { type: CKA.TOKEN, value: false },
    { type: CKA.PRIVATE, value: true },
    { type: CKA.EXTRACTABLE, value: false },
    { type: CKA.MODIFIABLE, value: false },
  ]
  const copy = lib.C_CopyObject(handle, original, narrower)
  trial.token.form({ ...MAC_KEY, copyable: true }).assert(lib, handle, copy)
  trial.expect('the CMAC of a copy', trial.token.cmac(copy, hex(message)), mac)
}

function tryEd25519(trial: Trial): void {
  const { token } = trial
  const kind = { keyType: CKK.EC_EDWARDS }
  const privateSpec: KeySpec = { class: CKO.PRIVATE, ...kind, uses: ['sign'], mechanisms: [CKM.EDDSA] }
  const publicSpec: KeySpec = { class: CKO.PUBLIC, ...kind, uses: ['verify'], mechanisms: [] }
  const sign = (key: Handle, text: Buffer): Buffer => token.sign(CKM.EDDSA, key, text, Buffer.alloc(64))

  const made = trial.generatePair(CKM.EC_EDWARDS_KEY_PAIR_GEN, ED25519_PARAMS, publicSpec, privateSpec)
  const publicKey = createPublicKey({ key: ed25519Spki(token.read(made.publicKey, CKA.EC_POINT)), format: 'der', type: 'spki' })
  trial.expect('an Ed25519 signature', verify(null, TEXT, publicKey, sign(made.privateKey, TEXT)), true)

  // The service never brings one in: a token that takes none is as good.
  const { key, message, signature } = KNOWN_ANSWERS.ed25519
  let known: Handle | undefined
  trial.refuses(() => void (known = trial.import(privateSpec, { type: CKA.EC_PARAMS, value: ED25519_PARAMS }, { type: CKA.VALUE, value: hex(key) })))
  if (known !== undefined) trial.expect('RFC 8032 test 2', sign(known, hex(message)), signature)
}
