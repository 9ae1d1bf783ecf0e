import { createHash, createPublicKey } from 'node:crypto'
import { readFileSync } from 'node:fs'
import pkcs11js, { type Attribute, type Handle } from 'pkcs11js'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { frame, unframe } from '../core/bytes.ts'
import { keyId, newUuid } from '../core/ids.ts'
import { Problem } from '../core/problem.ts'
import { encodeRow } from '../core/row.ts'
import { SECRET_ALGORITHMS } from './algorithms.ts'
import type { KeyAlgorithm } from './contract.ts'
import { cryptokiError } from './errors.ts'
import { decryptGcm, encryptGcm } from './gcm.ts'
import type { LaneKeys, SealedBytes } from './lane-keys.ts'
import { CKK, CKM, ED25519_PARAMS } from './mechanisms.ts'
import { NO_BYTES } from './no-bytes.ts'
import { CKA, CKO, type KeySpec } from './templates.ts'
import { type TestToken, testToken } from './testing/test-token.ts'
import { tokenInProcess, wrapKnownKey } from './testing/token-in-process.ts'
import type { Token } from './token.ts'
import { isSignature, VERBS } from './verbs.ts'

/** A test of Wycheproof. Bytes in hexadecimal. */
interface Case {
  readonly tcId: number
  readonly key: string
  readonly iv: string
  readonly aad: string
  readonly msg: string
  readonly ct: string
  readonly tag: string
  readonly sig: string
  readonly result: 'valid' | 'invalid'
}
interface Group {
  readonly publicKeyDer: string
  readonly tests: readonly Case[]
}

/** See SOURCE.md there. */
const VECTORS = new URL('./testing/vectors/', import.meta.url)

/** Whether the case was accepted; or why it was skipped. */
type Verdict = boolean | string

interface Count {
  /** Valid, and accepted. */
  readonly accepted: number
  /** Invalid, and refused. */
  readonly refused: number
  /** By reason. */
  readonly skipped: Readonly<Record<string, number>>
}

/** Judges every case of a file. Fails, with their numbers, on those that are judged otherwise than Wycheproof does. */
function countOf(name: string, judge: (one: Case, group: Group) => Verdict): Count {
  const { testGroups } = JSON.parse(readFileSync(new URL(`${name}.json`, VECTORS), 'utf8')) as { readonly testGroups: readonly Group[] }
  const [count, skipped, wrong] = [{ accepted: 0, refused: 0 }, {} as Record<string, number>, [] as number[]]
  for (const group of testGroups) {
    for (const one of group.tests) {
      const verdict = judge(one, group)
      if (typeof verdict === 'string') skipped[verdict] = (skipped[verdict] ?? 0) + 1
      else if (verdict !== (one.result === 'valid')) wrong.push(one.tcId)
      else count[verdict ? 'accepted' : 'refused']++
    }
  }
  expect(wrong).toEqual([])
  return { ...count, skipped }
}

let test: TestToken
let keys: LaneKeys
let token: Token
beforeAll(async () => {
  test = await testToken()
  keys = tokenInProcess(test.folder)
  token = keys.token
})
afterAll(() => test.close())

const hex = (text: string): Buffer => (text === '' ? NO_BYTES : Buffer.from(text, 'hex'))
const sha256 = (text: string): Buffer => createHash('sha256').update(hex(text)).digest()

const sealedRow = (columns: Parameters<typeof encodeRow>[0]['columns']): SealedBytes => {
  const id = keyId(newUuid())
  const row = encodeRow({ table: 'vectors', schema: 1, id, version: 1, columns })
  return { id, row, mac: VERBS.macRows(keys, { rows: frame([row]) }) }
}
/** A known key as the database would hold it; `undefined` where the service has no keys of that length. */
function stored(key: string, algorithms: readonly Exclude<KeyAlgorithm, 'ec-p256'>[]): SealedBytes | undefined {
  const algorithm = algorithms.find((name) => 2 * SECRET_ALGORITHMS[name].lengthBytes === key.length)
  return algorithm && sealedRow({ algorithm, wrapped: wrapKnownKey(keys, algorithm, hex(key)) })
}
/** Runs `work` with a known key that is in no row: for lengths that only the token has. */
function withKnown<Result>(key: string, spec: Omit<KeySpec, 'class'>, work: (handle: Handle) => Result): Result {
  const handle = token.importKey(token.form({ class: CKO.SECRET, ...spec }), { type: CKA.VALUE, value: hex(key) })
  try {
    return work(handle)
  } finally {
    token.destroy(handle)
  }
}
/** Whether `work` ends without an error of the token. Any other error is thrown. */
function isTaken(work: () => unknown): boolean {
  try {
    work()
    return true
  } catch (error) {
    if (cryptokiError(error instanceof Problem ? error.cause : error) === undefined) throw error
    return false
  }
}
/** One public key in the token for each group. */
function publicKeys(spec: KeySpec, valueOf: (publicKeyDer: Buffer) => readonly Attribute[]): (group: Group) => Handle {
  const known = new Map<string, Handle>()
  return ({ publicKeyDer }) => {
    const handle = known.get(publicKeyDer) ?? token.importKey(token.form(spec), ...valueOf(hex(publicKeyDer)))
    known.set(publicKeyDer, handle)
    return handle
  }
}

describe('Wycheproof by the verbs of a lane', () => {
  it('AES-CMAC', () => {
    const spec = { keyType: CKK.AES, uses: ['sign'], mechanisms: [CKM.AES_CMAC] } as const
    const count = countOf('aes_cmac_test', ({ key, msg, tag }) => {
      const known = stored(key, ['aes-cmac-128', 'aes-cmac-256'])
      if (known !== undefined) return VERBS.mac(keys, { key: known, messages: frame([hex(msg)]) }).toString('hex') === tag
      // 192 bits: only the token has such keys. Of any other length it takes none.
      if (key.length === 48) return withKnown(key, spec, (handle) => token.cmac(handle, hex(msg)).toString('hex') === tag)
      return isTaken(() => withKnown(key, spec, (handle) => token.cmac(handle, hex(msg))))
    })
    expect(count).toEqual({ accepted: 63, refused: 248, skipped: {} })
  })

  it('HMAC-SHA-256: signing, and verifying whole tags', () => {
    const spec = { keyType: CKK.GENERIC_SECRET, uses: ['sign'], mechanisms: [CKM.SHA256_HMAC] } as const
    const count = countOf('hmac_sha256_test', ({ key, msg, tag }) => {
      const known = stored(key, ['hmac-sha256'])
      if (known === undefined) {
        const made = (): Buffer => withKnown(key, spec, (handle) => token.sign(CKM.SHA256_HMAC, handle, hex(msg), Buffer.alloc(32)))
        if (key.length > 64) return made().toString('hex').startsWith(tag)
        return isTaken(made) ? 'a token that takes short keys' : 'the token takes no HMAC key under 32 bytes'
      }
      const right = VERBS.sign(keys, { key: known, items: frame([hex(msg)]) }).toString('hex')
      const isVerified = VERBS.verify(keys, { key: known, items: frame([hex(msg), hex(tag)]) })[0] === 1
      // A tag of 16 bytes is half a tag: right or not, the service does not take it.
      expect(isVerified).toBe(right === tag)
      return right.startsWith(tag)
    })
    expect(count).toEqual({ accepted: 60, refused: 108, skipped: { 'the token takes no HMAC key under 32 bytes': 6 } })
  })

  it('AES-GCM: decrypting as the verb does, and encrypting under the IV of the case', () => {
    const spec = { keyType: CKK.AES, uses: ['encrypt', 'decrypt'], mechanisms: [CKM.AES_GCM] } as const
    let byVerb = 0
    const count = countOf('aes_gcm_test', ({ key, iv, aad, msg, ct, tag, result }) => {
      if (iv.length !== 24) return 'the service makes and takes IVs of 12 bytes'
      const call = { iv: hex(iv), aad: hex(aad) }
      const known = stored(key, ['aes-gcm-256'])
      return withKnown(key, spec, (handle) => {
        if (result === 'valid') {
          const out = Buffer.alloc(ct.length / 2 + 16)
          encryptGcm(token, handle, { ...call, data: hex(msg) }, out)
          expect(out.toString('hex')).toBe(ct + tag)
        }
        // Keys of 128 and 192 bits: only the token has them.
        const opened = known === undefined ? decryptGcm(token, handle, { ...call, data: hex(ct + tag) }) : openedByVerb(known, iv + ct + tag, aad)
        if (known !== undefined) byVerb++
        expect([undefined, msg]).toContain(opened?.toString('hex'))
        return opened !== undefined
      })
    })
    expect(count).toEqual({ accepted: 116, refused: 81, skipped: { 'the service makes and takes IVs of 12 bytes': 119 } })
    expect(byVerb).toBe(66)
  })

  function openedByVerb(key: SealedBytes, whole: string, aad: string): Buffer | undefined {
    const [answer, plaintext] = unframe(VERBS.decrypt(keys, { key, items: frame([hex(whole), hex(aad)]) }))
    return answer?.[0] === 1 ? (plaintext as Buffer) : undefined
  }

  /** By the verb, with a row whose private part is some key of ours: verification uses the public column alone. */
  const p256Verifier = (): ((group: Group, digest: Buffer, signature: Uint8Array) => boolean) => {
    const { wrapped } = VERBS.generate(keys, { algorithm: 'ec-p256' })
    const rows = new Map<string, SealedBytes>()
    return ({ publicKeyDer }, digest, signature) => {
      const key = rows.get(publicKeyDer) ?? sealedRow({ algorithm: 'ec-p256', wrapped, public_key: hex(publicKeyDer) })
      rows.set(publicKeyDer, key)
      return VERBS.verify(keys, { key, items: frame([digest, signature]) })[0] === 1
    }
  }

  it('ECDSA P-256, raw r||s', () => {
    const isRight = p256Verifier()
    const count = countOf('ecdsa_secp256r1_sha256_p1363_test', ({ msg, sig }, group) => isRight(group, sha256(msg), hex(sig)))
    expect(count).toEqual({ accepted: 173, refused: 89, skipped: {} })
  })

  it('ECDSA P-256 in DER: what is strict DER is verified as r||s, and the rest refused', () => {
    const isRight = p256Verifier()
    const refusedBy = { der: 0, token: 0 }
    const count = countOf('ecdsa_secp256r1_sha256_test', ({ msg, sig }, group) => {
      const raw = parseSignature(hex(sig))
      const right = raw !== undefined && isRight(group, sha256(msg), raw)
      if (!right) refusedBy[raw === undefined ? 'der' : 'token']++
      return right
    })
    expect(count).toEqual({ accepted: 174, refused: 310, skipped: {} })
    expect(refusedBy).toEqual({ der: 235, token: 75 })
  })
})

/** r||s of an Ecdsa-Sig-Value (RFC 3279 2.2.3) in strict DER, 64 bytes. The service takes and gives r||s alone: this stands for who converts. */
function parseSignature(der: Buffer): Buffer | undefined {
  if (der[0] !== 0x30 || der[1] !== der.length - 2 || der.length > 72) return undefined
  const r = parseInteger(der, 2)
  const s = r && parseInteger(der, r.end)
  return r && s?.end === der.length ? Buffer.concat([r.value, s.value]) : undefined
}
/** A positive INTEGER of at most 256 bits, in its shortest form, as 32 bytes. */
function parseInteger(der: Buffer, at: number): { readonly value: Buffer; readonly end: number } | undefined {
  const end = at + 2 + (der[at + 1] ?? 0)
  const content = der.subarray(at + 2, end)
  if (der[at] !== 0x02 || end > der.length || content.length === 0) return undefined
  const [first = 0, second = 0] = content
  if (first >= 0x80 || (first === 0 && content.length > 1 && second < 0x80)) return undefined
  const magnitude = first === 0 ? content.subarray(1) : content
  return magnitude.length > 32 ? undefined : { value: Buffer.concat([Buffer.alloc(32 - magnitude.length), magnitude]), end }
}

describe('Wycheproof by the token alone', () => {
  it('AES-KWP: what lanes unwrap with, into a readable key', () => {
    const spec = { keyType: CKK.AES, uses: ['unwrap'], mechanisms: [token.kwp] } as const
    const readable: KeySpec = { class: CKO.SECRET, keyType: CKK.GENERIC_SECRET, uses: [], mechanisms: [], extractable: true, insecureReadable: true }
    const count = countOf('aes_kwp_test', ({ key, msg, ct }) => {
      let value = ''
      const opened = isTaken(() =>
        withKnown(key, spec, (wrapping) => {
          const unwrapped = token.unwrap(wrapping, hex(ct), token.form(readable))
          value = token.read(unwrapped, CKA.VALUE).toString('hex')
          token.destroy(unwrapped)
        }),
      )
      return opened && value === msg
    })
    expect(count).toEqual({ accepted: 77, refused: 177, skipped: {} })
  })

  /** The service signs checkpoints by Ed25519, and nobody verifies by the token: what reads them does it in software. */
  it('Ed25519: verification, which no verb has', () => {
    const spec: KeySpec = { class: CKO.PUBLIC, keyType: CKK.EC_EDWARDS, uses: ['verify'], mechanisms: [] }
    const keyOf = publicKeys(spec, (der) => [
      { type: CKA.EC_PARAMS, value: ED25519_PARAMS },
      { type: CKA.EC_POINT, value: Buffer.concat([Buffer.from([0x04, 32]), der.subarray(-32)]) },
    ])
    const count = countOf('ed25519_test', ({ msg, sig }, group) =>
      isSignature(token, { mechanism: CKM.EDDSA }, keyOf(group), { data: hex(msg), signature: hex(sig) }),
    )
    expect(count).toEqual({ accepted: 88, refused: 63, skipped: {} })
  })

  /** The service has no RSA key of its own: it wraps under vendors' keys by OAEP. */
  it('RSA-PSS: verification, which no verb has', () => {
    const [SHA256, SHA256_RSA_PKCS_PSS] = [0x250, 0x43]
    const parameter = { type: pkcs11js.CK_PARAMS_RSA_PSS, hashAlg: SHA256, mgf: pkcs11js.CKG_MGF1_SHA256, saltLen: 32 }
    const keyOf = publicKeys({ class: CKO.PUBLIC, keyType: CKK.RSA, uses: ['verify'], mechanisms: [] }, (der) => {
      const { n = '', e = '' } = createPublicKey({ key: der, format: 'der', type: 'spki' }).export({ format: 'jwk' })
      return [
        { type: CKA.MODULUS, value: Buffer.from(n, 'base64url') },
        { type: CKA.PUBLIC_EXPONENT, value: Buffer.from(e, 'base64url') },
      ]
    })
    const count = countOf('rsa_pss_2048_sha256_mgf1_32_test', ({ msg, sig }, group) =>
      isSignature(token, { mechanism: SHA256_RSA_PKCS_PSS, parameter }, keyOf(group), { data: hex(msg), signature: hex(sig) }),
    )
    expect(count).toEqual({ accepted: 63, refused: 45, skipped: {} })
  })
})
