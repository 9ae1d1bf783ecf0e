import type { Handle } from 'pkcs11js'
import { cryptokiError } from './errors.ts'
import { KNOWN_ANSWERS } from './known-answers.ts'
import { cardKeySpec, doubleBlock, kdf3Block, type LaneKeys } from './lane-keys.ts'
import { kcvOf } from './algorithms.ts'
import { CKK, CKM } from './mechanisms.ts'
import type { ProbeName } from './probe-names.ts'
import { CKA, CKO, type KeySpec } from './templates.ts'
import type { Token } from './token.ts'

/** The token does what it must not, or computes what it should not. The service does not start on it. */
export class SelfTestError extends Error {
  override readonly name = 'SelfTestError'
}

const hex = (text: string): Buffer => Buffer.from(text, 'hex')

const AES: Pick<KeySpec, 'class' | 'keyType'> = { class: CKO.SECRET, keyType: CKK.AES }

/** Runs `work` with keys that are destroyed afterwards. */
function withKeys<Result>(token: Token, keys: readonly Handle[], work: () => Result): Result {
  try {
    return work()
  } finally {
    token.destroy(...keys)
  }
}

/** Each must be refused by an error of the token; anything else is a fault. */
const PROBES: Readonly<Record<ProbeName, (keys: LaneKeys) => void>> = {
  'not-extractable': ({ token, roots }) => {
    const key = token.generate(token.form({ ...AES, uses: ['encrypt'], mechanisms: [CKM.AES_ECB] }), 16)
    withKeys(token, [key], () => token.wrap(roots.storageKek, key))
  },
  'allowed-mechanisms': ({ token }) => {
    const key = token.generate(token.form({ ...AES, uses: ['encrypt', 'sign'], mechanisms: [CKM.AES_ECB] }), 16)
    withKeys(token, [key], () => token.cmac(key, Buffer.alloc(16)))
  },
  'wrap-with-trusted': ({ token }) => {
    const untrusted = token.generate(token.form({ ...AES, uses: ['wrap'], mechanisms: [token.kwp] }), 32)
    const key = token.generate(token.form(cardKeySpec('aes-gp')), 16)
    withKeys(token, [untrusted, key], () => token.wrap(untrusted, key))
  },
  sensitive: ({ token }) => {
    const key = token.generate(token.form(cardKeySpec('aes-gp')), 16)
    withKeys(token, [key], () => token.read(key, CKA.VALUE))
  },
}

function isRefused(work: () => void): boolean {
  try {
    work()
    return false
  } catch (error) {
    if (cryptokiError(error) === undefined) throw error
    return true
  }
}

/**
 * Behaviour and published values, through the token. Some milliseconds. Throws a {@link SelfTestError} naming what is wrong;
 * answers the probes that failed and were told to be ignored.
 */
export function selfTest(keys: LaneKeys, ignore: readonly ProbeName[]): ProbeName[] {
  const failed = (Object.keys(PROBES) as ProbeName[]).filter((name) => !isRefused(() => PROBES[name](keys)))
  const serious = failed.filter((name) => !ignore.includes(name))
  if (serious.length > 0) throw new SelfTestError(`the token does not enforce ${serious.join(', ')}`)
  const wrong = knownAnswers(keys.token)
  if (wrong.length > 0) throw new SelfTestError(`the token computes wrong values: ${wrong.join(', ')}`)
  return failed
}

/** Names of the published values that the token does not give. */
export function knownAnswers(token: Token): string[] {
  const wrong: string[] = []
  const expect = (name: string, got: Buffer, value: string): void => void (got.toString('hex') === value || wrong.push(name))
  const known = (value: string, spec: Omit<KeySpec, 'class'>): Handle =>
    token.importKey(token.form({ class: CKO.SECRET, ...spec }), { type: CKA.VALUE, value: hex(value) })

  for (const [at, { kek, key, wrapped }] of KNOWN_ANSWERS.kwp.entries()) {
    const wrapping = known(kek, { keyType: CKK.AES, uses: ['wrap'], mechanisms: [token.kwp] })
    const wrappee = known(key, { keyType: CKK.AES, uses: [], mechanisms: [], extractable: true })
    withKeys(token, [wrapping, wrappee], () => expect(`KWP value ${at + 1}`, token.wrap(wrapping, wrappee), wrapped))
  }
  const readable = token.form({ class: CKO.SECRET, keyType: CKK.GENERIC_SECRET, uses: [], mechanisms: [], extractable: true, insecureReadable: true })
  for (const [at, { kek, key, wrapped }] of KNOWN_ANSWERS.kwpUnwrap.entries()) {
    const wrapping = known(kek, { keyType: CKK.AES, uses: ['unwrap'], mechanisms: [token.kwp] })
    const unwrapped = token.unwrap(wrapping, hex(wrapped), readable)
    withKeys(token, [wrapping, unwrapped], () => expect(`RFC 5649 example ${at + 1}`, token.read(unwrapped, CKA.VALUE), key))
  }
  const cmacKey = known(KNOWN_ANSWERS.cmac.key, { keyType: CKK.AES, uses: ['sign'], mechanisms: [CKM.AES_CMAC] })
  withKeys(token, [cmacKey], () => {
    KNOWN_ANSWERS.cmac.cases.forEach(({ message, mac }, at) => void expect(`RFC 4493 example ${at + 1}`, token.cmac(cmacKey, hex(message)), mac))
  })
  const { master, kdd, kcvs } = KNOWN_ANSWERS.kdf3
  const derive = known(master, { keyType: CKK.AES, uses: ['derive'], mechanisms: [CKM.AES_CBC_ENCRYPT_DATA] })
  withKeys(token, [derive], () => {
    const k1 = masterK1(token, derive)
    kcvs.forEach((kcv, at) => {
      const key = token.deriveCbc(derive, k1, kdf3Block(at + 1, hex(kdd)), token.form(cardKeySpec('aes-gp')))
      withKeys(token, [key], () => expect(`KDF3 type ${at + 1}`, kcvOf(token, 'aes-gp', key), kcv))
    })
  })
  const { key, message, mac } = KNOWN_ANSWERS.hmac
  const hmacKey = known(key, { keyType: CKK.GENERIC_SECRET, uses: ['sign'], mechanisms: [CKM.SHA256_HMAC] })
  withKeys(token, [hmacKey], () => expect('RFC 4231 case 6', token.sign(CKM.SHA256_HMAC, hmacKey, hex(message), Buffer.alloc(32)), mac))
  return wrong
}

/** K1 of a master: E(master, 0), got by deriving zeros into a readable key, doubled. K1 is no secret; it must only be right. */
export function masterK1(token: Token, master: Handle): Buffer {
  const spec: KeySpec = { ...AES, uses: [], mechanisms: [], extractable: true, insecureReadable: true }
  const zeros = Buffer.alloc(16)
  const key = token.deriveCbc(master, zeros, zeros, token.form(spec))
  return withKeys(token, [key], () => doubleBlock(token.read(key, CKA.VALUE)))
}
