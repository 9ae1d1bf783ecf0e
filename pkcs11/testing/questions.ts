import { createCipheriv, createDecipheriv, createHmac, createPrivateKey, createPublicKey, type KeyObject, randomBytes, randomInt, verify } from 'node:crypto'
import { autnOf, cmac, opcOf } from '../../attestation/testing/milenage.ts'
import { equalBytes, sha256 } from '../../core/bytes.ts'
import { type KeyId, keyId, newUuid } from '../../core/ids.ts'
import { Problem } from '../../core/problem.ts'
import type { KeyUse, Permit } from '../../policies/permit.ts'
import { withTestPermit } from '../../policies/testing/memory-gate.ts'
import { OTP_ALGORITHM } from '../algorithms.ts'
import { type CardKeyPlan, type FilledKey, ROOT_KEYS, type StoredKey } from '../index.ts'
import type { FaultToken, KnownKey } from './fault-token.ts'
import { sealed } from './fill-fixture.ts'

/** Something to ask of the token, whose right answer is computed beside it. */
export interface Question {
  readonly name: string
  /** The key that chooses the lane. Absent: any lane, or several. */
  readonly key?: KeyId
  /** How many calls of the HSM it makes, one after another. Default 1. */
  readonly calls?: number
  /** Asks once, and tells whether the answer is right. */
  ask(): Promise<boolean>
}

const EC_KEYS = 4
const AUTHENTICATION = 0x10
const KDDS = ['89860000000000000010', '89860000000000000020'].map((text) => Buffer.from(text, 'hex'))
const PLAN: readonly CardKeyPlan[] = [
  { purpose: 'ki', source: { kind: 'random' }, kcv: 'aes-gp' },
  { purpose: 'opc', source: { kind: 'opc', of: 'ki' }, kcv: 'aes-gp' },
  { purpose: 'gp-enc', source: { kind: 'derived', type: 1 }, kcv: 'aes-gp' },
  { purpose: 'auth', source: { kind: 'derived', type: AUTHENTICATION }, kcv: 'aes-cmac' },
  { purpose: 'pair', source: { kind: 'ec-p256' }, kcv: 'spki-sha256' },
]

export interface Questions {
  readonly all: readonly Question[]
  /** What a lane holds at most when it has seen them all: handles of keys, with the public parts. */
  readonly mostObjects: number
  /** Ends the permit that they are asked with. */
  close(): Promise<void>
}

/** Questions of every kind, with a permit that covers them all. Asks the token for what it alone knows, while it is well. */
export function openQuestions(token: FaultToken): Promise<Questions> {
  const ecIds = Array.from({ length: EC_KEYS }, () => keyId(newUuid()))
  const fresh = keyId(newUuid())
  const secrets = [token.hmacKeys, token.macKeys, token.gcmKeys, token.cardKeys].flat()
  return new Promise((resolve, reject) => {
    const over = withTestPermit(usesOf(token, [...ecIds, fresh]), async (permit) => {
      const all = await questions({ token, permit, ecIds, fresh })
      await new Promise<void>((release) => {
        const close = async (): Promise<void> => {
          release()
          await over
        }
        resolve({ all, mostObjects: secrets.length + 2 * (ecIds.length + 1), close })
      })
      return {}
    })
    over.catch(reject)
  })
}

interface Asking {
  readonly token: FaultToken
  readonly permit: Permit
  readonly ecIds: readonly KeyId[]
  /** The name of keys that are made anew each time. */
  readonly fresh: KeyId
}

function usesOf({ hmacKeys, macKeys, gcmKeys, cardKeys, operatorKey, master, transportKeyId }: FaultToken, ecIds: readonly KeyId[]): KeyUse[] {
  const each = (ids: readonly KeyId[], ...actions: readonly KeyUse['action'][]): KeyUse[] =>
    ids.flatMap((id) => actions.map((action) => ({ action, keyId: id })))
  const idsOf = (keys: readonly StoredKey[]): KeyId[] => keys.map(({ id }) => id)
  return [
    ...each(ecIds, 'generate', 'sign', 'verify'),
    ...each(idsOf(hmacKeys), 'sign', 'verify'),
    ...each(idsOf(macKeys), 'mac'),
    ...each(idsOf(gcmKeys), 'encrypt', 'decrypt'),
    ...each(idsOf(cardKeys), 'authenticate'),
    ...each([operatorKey.id], 'unwrap'),
    ...each([master.id], 'derive'),
    ...each([transportKeyId], 'wrap'),
    ...each([ROOT_KEYS.result], 'sign'),
  ]
}

async function questions(asking: Asking): Promise<Question[]> {
  return [
    ...(await integrityQuestions(asking)),
    ...(await personQuestions(asking)),
    ...(await ecQuestions(asking)),
    ...asking.token.hmacKeys.flatMap((key) => hmacQuestions(asking, key)),
    ...asking.token.macKeys.map((key) => cmacQuestion(asking, key)),
    ...asking.token.gcmKeys.flatMap((key) => gcmQuestions(asking, key)),
    ...asking.token.cardKeys.map((key) => milenageQuestion(asking, key)),
    ...(await cardQuestions(asking)),
    ...rootQuestions(asking),
    newPairQuestion(asking),
    newSecretQuestion(asking),
  ]
}

const message = (): Buffer => randomBytes(1 + (randomBytes(1)[0] ?? 0))
const spki = (der: Uint8Array): KeyObject => createPublicKey({ key: Buffer.from(der), format: 'der', type: 'spki' })
const isSignatureOf = (key: KeyObject, signed: Uint8Array, signature: Uint8Array | undefined): boolean =>
  signature !== undefined && verify('sha256', signed, { key, dsaEncoding: 'ieee-p1363' }, signature)
const same = (got: Uint8Array | undefined, right: Uint8Array): boolean => got !== undefined && equalBytes(got, right)

/** The system's own keys, whose values nobody knows: their answers are held against those of before. */
async function integrityQuestions({ token: { integrity } }: Asking): Promise<Question[]> {
  const group = message()
  const mac = await integrity.macGroup(group)
  const row = { table: 'questions', schema: 1, id: 'row', version: 1, columns: { text: 'x'.repeat(100) } }
  const [rowMac = new Uint8Array()] = await integrity.macRows([row])
  const value = { name: 'iccid', value: '89860000000000000010' }
  const [index = new Uint8Array()] = await integrity.blindIndex([value])
  const checkpointKey = spki(integrity.checkpointKey.publicKey)
  return [
    { name: 'macGroup', ask: async () => same(await integrity.macGroup(group), mac) },
    {
      name: 'checkGroups',
      ask: async () => {
        const [right, wrong] = await integrity.checkGroups([
          { message: group, mac },
          { message: group, mac: Buffer.alloc(16) },
        ])
        return right === true && wrong === false
      },
    },
    { name: 'macRows', ask: async () => same((await integrity.macRows([row]))[0], rowMac) },
    { name: 'assertRows', ask: () => integrity.assertRows([{ row, mac: rowMac }]).then(() => true) },
    {
      name: 'assertRows of an edited row',
      ask: () =>
        integrity.assertRows([{ row: { ...row, version: 2 }, mac: rowMac }]).then(
          () => false,
          (error: unknown) => {
            if (error instanceof Problem && error.code === 'integrity-failed') return true
            throw error
          },
        ),
    },
    { name: 'blindIndex', ask: async () => same((await integrity.blindIndex([value]))[0], index) },
    {
      name: 'signCheckpoint',
      ask: async () => {
        const text = message()
        return verify(null, text, checkpointKey, await integrity.signCheckpoint(text))
      },
    },
  ]
}

/** What people log in with: the pepper's value nobody knows, and secrets of one-time codes are known here. */
async function personQuestions({ token }: Asking): Promise<Question[]> {
  const { personSecrets } = token
  const value = message()
  const peppered = await personSecrets.pepper('password', value)
  const code = (secret: Uint8Array, counter: number): Buffer => {
    const bytes = Buffer.alloc(8)
    bytes.writeBigUInt64BE(BigInt(counter))
    return createHmac('sha1', secret).update(bytes).digest()
  }
  const { wrapped, secret } = await personSecrets.makeOtpSecret()
  const row = await sealed(token, keyId(newUuid()), { algorithm: OTP_ALGORITHM, wrapped })
  return [
    { name: 'pepper', ask: async () => same(await personSecrets.pepper('password', value), peppered) },
    {
      name: 'otpHmac',
      ask: async () => {
        const counters = [randomInt(2 ** 40), randomInt(2 ** 40)]
        const macs = await personSecrets.otpHmac(row, counters)
        return counters.every((counter, at) => same(macs[at], code(secret, counter)))
      },
    },
    {
      name: 'makeOtpSecret, and its code',
      calls: 3,
      ask: async () => {
        const made = await personSecrets.makeOtpSecret()
        const fresh = await sealed(token, keyId(newUuid()), { algorithm: OTP_ALGORITHM, wrapped: made.wrapped })
        return same((await personSecrets.otpHmac(fresh, [1]))[0], code(made.secret, 1))
      },
    },
  ]
}

async function ecQuestions({ token, permit, ecIds }: Asking): Promise<Question[]> {
  const { hsm } = token
  const made = ecIds.map(async (id): Promise<Question[]> => {
    const { wrapped, publicKey = new Uint8Array() } = await hsm.generate(permit, id, 'ec-p256')
    const key = { id, sealed: await sealed(token, id, { algorithm: 'ec-p256', wrapped, public_key: publicKey }) }
    const publicPart = spki(publicKey)
    const signed = message()
    const [signature = new Uint8Array()] = await hsm.sign(permit, key, [signed])
    return [
      {
        name: 'sign by P-256',
        key: id,
        ask: async () => {
          const text = message()
          return isSignatureOf(publicPart, text, (await hsm.sign(permit, key, [text]))[0])
        },
      },
      {
        name: 'verify by P-256',
        key: id,
        ask: async () => {
          const answers = await hsm.verify(permit, key, [
            { message: signed, signature },
            { message: randomBytes(20), signature },
          ])
          return answers[0] === true && answers[1] === false
        },
      },
    ]
  })
  return (await Promise.all(made)).flat()
}

function hmacQuestions({ token: { hsm }, permit }: Asking, key: KnownKey): Question[] {
  const hmac = (text: Uint8Array): Buffer => createHmac('sha256', key.value).update(text).digest()
  return [
    {
      name: 'sign by HMAC',
      key: key.id,
      ask: async () => {
        const texts = [message(), message()]
        const tags = await hsm.sign(permit, key, texts)
        return texts.every((text, at) => same(tags[at], hmac(text)))
      },
    },
    {
      name: 'verify by HMAC',
      key: key.id,
      ask: async () => {
        const text = message()
        const answers = await hsm.verify(permit, key, [
          { message: text, signature: hmac(text) },
          { message: text, signature: Buffer.alloc(32) },
        ])
        return answers[0] === true && answers[1] === false
      },
    },
  ]
}

const cmacQuestion = ({ token: { hsm }, permit }: Asking, key: KnownKey): Question => ({
  name: 'mac by AES-CMAC',
  key: key.id,
  ask: async () => {
    const texts = [message(), message()]
    const macs = await hsm.mac(permit, key, texts)
    return texts.every((text, at) => same(macs[at], cmac(key.value, text)))
  },
})

function gcmQuestions({ token: { hsm }, permit }: Asking, key: KnownKey): Question[] {
  const aad = Buffer.from('aad')
  return [
    {
      name: 'encrypt by AES-GCM',
      key: key.id,
      ask: async () => {
        const plaintext = message()
        const [ciphertext] = await hsm.encrypt(permit, key, [{ plaintext, aad }])
        return ciphertext !== undefined && same(openGcm(key.value, ciphertext, aad), plaintext)
      },
    },
    {
      name: 'decrypt by AES-GCM',
      key: key.id,
      ask: async () => {
        const plaintext = message()
        return same((await hsm.decrypt(permit, key, [{ ciphertext: sealGcm(key.value, plaintext, aad), aad }]))[0], plaintext)
      },
    },
    {
      name: 'decrypt with another AAD',
      key: key.id,
      ask: async () => (await hsm.decrypt(permit, key, [{ ciphertext: sealGcm(key.value, message(), aad), aad: Buffer.from('another') }]))[0] === undefined,
    },
  ]
}

/** IV || ciphertext || tag. */
function sealGcm(value: Uint8Array, plaintext: Uint8Array, aad: Uint8Array): Buffer {
  const iv = randomBytes(12)
  const cipher = createCipheriv('aes-256-gcm', value, iv).setAAD(aad)
  return Buffer.concat([iv, cipher.update(plaintext), cipher.final(), cipher.getAuthTag()])
}

function openGcm(value: Uint8Array, whole: Uint8Array, aad: Uint8Array): Buffer | undefined {
  const decipher = createDecipheriv('aes-256-gcm', value, whole.subarray(0, 12)).setAAD(aad).setAuthTag(whole.subarray(-16))
  try {
    return Buffer.concat([decipher.update(whole.subarray(12, -16)), decipher.final()])
  } catch {
    return undefined
  }
}

const milenageQuestion = ({ token: { hsm, operatorKey }, permit }: Asking, ki: KnownKey): Question => ({
  name: 'milenageChallenge',
  key: ki.id,
  ask: async () => {
    const [rand, sqn, amf] = [randomBytes(16), randomBytes(6), Buffer.from('8000', 'hex')]
    const keys = { ki: ki.value, opc: opcOf(ki.value, operatorKey.value) }
    return same(await hsm.milenageChallenge(permit, { ki, operatorKey, rand, sqn, amf }), autnOf(keys, { rand, sqn, amf }))
  },
})

/** Keys of cards, derived from a master that nobody knows: they are opened once, and are the same each time. OPc and check values follow from the keys. */
async function cardQuestions({ token, permit }: Asking): Promise<Question[]> {
  const { hsm, master, operatorKey, transportKeyId, unwrap } = token
  const fill = (): Promise<FilledKey[][]> => hsm.fillCards(permit, { master, operatorKey, transportKeyId, plan: PLAN, kdds: KDDS })
  const open = (card: readonly FilledKey[]): Buffer[] => card.map(({ wrapped }) => unwrap(wrapped))
  const first = (await fill()).map(open)
  return [
    {
      name: 'fillCards',
      ask: async () =>
        (await fill()).every((card, at) => {
          const [ki, opc, enc, auth, pair] = open(card) as [Buffer, Buffer, Buffer, Buffer, Buffer]
          const checks = [aesGpCheck(ki), aesGpCheck(opc), aesGpCheck(enc), cmac(auth, new Uint8Array(16)).subarray(0, 5), spkiCheck(pair)]
          return (
            same(opc, opcOf(ki, operatorKey.value)) &&
            same(enc, first[at]?.[2] ?? ki) &&
            same(auth, first[at]?.[3] ?? ki) &&
            checks.every((check, key) => same(card[key]?.kcv.value, check))
          )
        }),
    },
    {
      name: 'checkCardMacs',
      ask: async () => {
        const text = message()
        const items = KDDS.map((kdd, at) => ({ kdd, message: text, mac: cmac(first[at]?.[3] ?? new Uint8Array(16), text) }))
        const wrong = items.map((item) => ({ ...item, mac: Buffer.alloc(16) }))
        const answers = await hsm.checkCardMacs(permit, { master, type: AUTHENTICATION, items: [...items, ...wrong] })
        return answers.every((answer, at) => answer === at < items.length)
      },
    },
  ]
}

const aesGpCheck = (key: Uint8Array): Buffer => createCipheriv('aes-128-ecb', key, null).setAutoPadding(false).update(Buffer.alloc(16, 1)).subarray(0, 3)

/** Of the public part of a private key (PKCS#8 DER). What follows the DER value is passed over: SoftHSM fills it up before it wraps it. */
function spkiCheck(pkcs8: Buffer): Uint8Array {
  const privateKey = createPrivateKey({ key: pkcs8, format: 'der', type: 'pkcs8' })
  return sha256(createPublicKey(privateKey).export({ type: 'spki', format: 'der' })).subarray(0, 5)
}

function rootQuestions({ token: { hsm }, permit }: Asking): Question[] {
  const publicPart = spki(hsm.rootPublicKey(ROOT_KEYS.result))
  return [
    {
      name: 'signWithRoot',
      ask: async () => {
        const text = message()
        return isSignatureOf(publicPart, text, (await hsm.signWithRoot(permit, ROOT_KEYS.result, [text]))[0])
      },
    },
  ]
}

/** A new key is used at once: by the name that all of them have, so that a lane must not take one for another. */
const newPairQuestion = ({ token, permit, fresh }: Asking): Question => ({
  name: 'generate ec-p256, and sign',
  calls: 3,
  ask: async () => {
    const { wrapped, publicKey = new Uint8Array() } = await token.hsm.generate(permit, fresh, 'ec-p256')
    const key = { id: fresh, sealed: await sealed(token, fresh, { algorithm: 'ec-p256', wrapped, public_key: publicKey }) }
    const text = message()
    return isSignatureOf(spki(publicKey), text, (await token.hsm.sign(permit, key, [text]))[0])
  },
})

const newSecretQuestion = ({ token, permit, fresh }: Asking): Question => ({
  name: 'generate hmac-sha256, and sign',
  calls: 3,
  ask: async () => {
    const { wrapped, kcv } = await token.hsm.generate(permit, fresh, 'hmac-sha256')
    const key = { id: fresh, sealed: await sealed(token, fresh, { algorithm: 'hmac-sha256', wrapped }) }
    const [tag] = await token.hsm.sign(permit, key, [Buffer.alloc(16)])
    return kcv !== undefined && same(tag?.subarray(0, kcv.value.length), kcv.value)
  },
})
