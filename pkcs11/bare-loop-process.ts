import pkcs11js, { type Handle } from 'pkcs11js'
import { freshSpec, loadedSpec, P256_PUBLIC } from './algorithms.ts'
import { BARE_AAD_BYTES, BARE_BATCH, BARE_CACHED_KEYS, BARE_MESSAGE_BYTES, BARE_PLAINTEXT_BYTES, type BareLoop, type BareLoopName } from './bare-loop.ts'
import { encryptGcm, GCM_IV_BYTES, GCM_TAG_BYTES } from './gcm.ts'
import { cardKeySpec, doubleBlock, kdf3Block } from './lane-keys.ts'
import { CKK, CKM, P256_PARAMS } from './mechanisms.ts'
import { currentOf, findRootKeys } from './root-handles.ts'
import { ROOT_KEYS } from './root-keys.ts'
import { CKA, CKO } from './templates.ts'
import { Token } from './token.ts'

/** What a card's row has to be MACed in the delivery, and in the database; and its certificate's row, when the serial is taken and when it is issued. */
const DELIVERY_ROW_BYTES = 850
const CARD_ROW_BYTES = 1300
const RESERVED_ROW_BYTES = 300
const CERTIFICATE_ROW_BYTES = 1000
/** What the row of a P-256 key of a module has to be MACed. */
const KEY_ROW_BYTES = 475

/** Steps of one turn of the event loop. */
const TURN = 64

/** Does one unit of work. */
type Step = (at: number) => void

/** Templates, mechanisms and buffers are made once, before the first step. */
const LOOPS: Readonly<Record<BareLoopName, (token: Token, task: BareLoop) => Step>> = {
  'fill': cards,
  'sign': signatures,
  'cmac': macs,
  'gcm': encryptions,
  'derive-wrap': derivedKeys,
  'unwrap-sign': signaturesOfMany,
}

process.on('disconnect', () => process.exit(0))
process.once('message', (task: BareLoop) => {
  const { token: settings, loop, seconds } = task
  const token = Token.open(settings, settings.pinSource, { writable: false })
  const step = LOOPS[loop](token, task)
  for (let warm = 0; warm < 50; warm++) step(warm)
  const start = performance.now()
  let done = 0
  const turn = (): void => {
    // The Buffers that pkcs11js makes of attribute values are freed between turns: a loop that takes none fills the memory.
    for (let at = 0; at < TURN; at++) step(done++)
    if (performance.now() - start < seconds * 1000) setImmediate(turn)
    else process.send?.(done / ((performance.now() - start) / 1000), () => process.exit(0))
  }
  turn()
})

/** One P-256 signature over a ready digest. */
function signatures(token: Token): Step {
  const { lib, handle: session } = token
  const form = token.form({ class: CKO.PRIVATE, keyType: CKK.EC, uses: ['sign'], mechanisms: [CKM.ECDSA] })
  const publicForm = token.form({ class: CKO.PUBLIC, keyType: CKK.EC, uses: ['verify'], mechanisms: [] })
  const { privateKey } = token.generatePair(CKM.EC_KEY_PAIR_GEN, P256_PARAMS, publicForm, form)
  const digest = Buffer.alloc(32, 7)
  const out = Buffer.alloc(64)
  const mechanism = { mechanism: CKM.ECDSA }
  return () => {
    lib.C_SignInit(session, mechanism, privateKey)
    lib.C_Sign(session, digest, out)
  }
}

/** One AES-CMAC by a key of a module. */
function macs(token: Token): Step {
  const { lib, handle: session } = token
  const key = token.generate(token.form(loadedSpec('aes-cmac-256')), 32)
  const message = Buffer.alloc(BARE_MESSAGE_BYTES, 7)
  const out = Buffer.alloc(16)
  const mechanism = { mechanism: CKM.AES_CMAC }
  return () => {
    lib.C_SignInit(session, mechanism, key)
    lib.C_Sign(session, message, out)
  }
}

/** One AES-GCM encryption. The IVs of a batch come from the token at once, as in the verb. */
function encryptions(token: Token): Step {
  const { lib, handle: session } = token
  const key = token.generate(token.form(loadedSpec('aes-gcm-256')), 32)
  const ivs = Buffer.alloc(BARE_BATCH * GCM_IV_BYTES)
  const [data, aad] = [Buffer.alloc(BARE_PLAINTEXT_BYTES, 7), Buffer.alloc(BARE_AAD_BYTES, 8)]
  const out = Buffer.alloc(BARE_PLAINTEXT_BYTES + GCM_TAG_BYTES)
  return (at) => {
    const inBatch = at % BARE_BATCH
    if (inBatch === 0) lib.C_GenerateRandom(session, ivs)
    encryptGcm(token, key, { iv: ivs.subarray(inBatch * GCM_IV_BYTES, (inBatch + 1) * GCM_IV_BYTES), data, aad }, out)
  }
}

/** One card key by KDF3 from a card master, read back, with its KCV, under a transport key. Master and transport key are token objects. */
function derivedKeys(token: Token, { keys }: BareLoop): Step {
  const { lib, handle: session } = token
  const [master, transportKey] = [keys?.master, keys?.transportKey].map((id) => (id === undefined ? undefined : token.find(CKO.SECRET, id)))
  if (master === undefined || transportKey === undefined) throw new Error('the token lacks the master or the transport key')
  const template = token.form(cardKeySpec('aes-gp')).template({ type: CKA.VALUE_LEN, value: 16 })
  const data = Buffer.alloc(16)
  const derive = { mechanism: CKM.AES_CBC_ENCRYPT_DATA, parameter: { type: pkcs11js.CK_PARAMS_AES_CBC, iv: doubleBlock(Buffer.alloc(16, 3)), data } }
  const [kwp, ecb] = [{ mechanism: token.kwp }, { mechanism: CKM.AES_ECB }]
  const protection = [{ type: CKA.SENSITIVE }, { type: CKA.WRAP_WITH_TRUSTED }]
  const [ones, block, wrapped, kdd] = [Buffer.alloc(16, 1), Buffer.alloc(16), Buffer.alloc(24), Buffer.alloc(10, 0x98)]
  return (at) => {
    kdd.writeUInt32BE(at, 4)
    kdf3Block(1, kdd, data)
    const key = lib.C_DeriveKey(session, derive, master, template)
    lib.C_GetAttributeValue(session, key, protection)
    lib.C_EncryptInit(session, ecb, key)
    lib.C_Encrypt(session, ones, block)
    lib.C_WrapKey(session, kwp, transportKey, key, wrapped)
    lib.C_DestroyObject(session, key)
  }
}

/** One P-256 signature by a key that is not in the token yet: its row's MAC, the unwrapping, two flags read back, the signature, and the end of the key that was used longest ago. */
function signaturesOfMany(token: Token): Step {
  const { lib, handle: session } = token
  const roots = findRootKeys(token)
  const storageKek = currentOf(roots, 'storage-kek')
  const rowMac = currentOf(roots, 'row-mac')
  const pair = token.generatePair(CKM.EC_KEY_PAIR_GEN, P256_PARAMS, token.form(P256_PUBLIC), token.form(freshSpec('ec-p256')))
  const wrapped = Buffer.from(token.wrap(storageKek, pair.privateKey))
  const template = token.form(loadedSpec('ec-p256')).template()
  const protection = [{ type: CKA.SENSITIVE }, { type: CKA.EXTRACTABLE }]
  const [kwp, cmac, ecdsa] = [{ mechanism: token.kwp }, { mechanism: CKM.AES_CMAC }, { mechanism: CKM.ECDSA }]
  const [row, digest, block, out] = [Buffer.alloc(KEY_ROW_BYTES, 5), Buffer.alloc(32, 7), Buffer.alloc(16), Buffer.alloc(64)]
  const cached: Handle[] = []
  return (at) => {
    lib.C_SignInit(session, cmac, rowMac)
    lib.C_Sign(session, row, block)
    const key = lib.C_UnwrapKey(session, kwp, storageKek, wrapped, template)
    lib.C_GetAttributeValue(session, key, protection)
    lib.C_SignInit(session, ecdsa, key)
    lib.C_Sign(session, digest, out)
    const place = at % BARE_CACHED_KEYS
    if (cached[place] !== undefined) lib.C_DestroyObject(session, cached[place])
    cached[place] = key
  }
}

/**
 * Every C_ call of one card of the profile grid-usim-1: Ki (random) and OPc, three GlobalPlatform keys and an authentication key by KDF3, a P-256 key pair, each read
 * back; seven wraps for the vendor, one for the database; six KCVs; the CA's signature over the certificate; the MACs of the delivery's row, the card's and the
 * certificate's two, and three blind indexes. Templates, mechanisms and buffers are made once.
 */
function cards(token: Token): Step {
  const { lib, handle: session } = token
  const roots = findRootKeys(token)
  const kek = currentOf(roots, 'storage-kek') // stands for the transport key too: both are TRUSTED AES-256 keys that wrap by KWP
  const macKey = currentOf(roots, 'row-mac') // stands for the vendor's and the index's: all are AES-256 keys for CMAC
  const master = token.generate(token.form({ class: CKO.SECRET, keyType: CKK.AES, uses: ['derive'], mechanisms: [CKM.AES_CBC_ENCRYPT_DATA] }), 32)
  const length = { type: CKA.VALUE_LEN, value: 16 }
  const gpTemplate = token.form(cardKeySpec('aes-gp')).template(length)
  const authTemplate = token.form(cardKeySpec('aes-cmac')).template(length)
  const kiTemplate = token.form(cardKeySpec('aes-cmac', true)).template(length)
  const opc = Buffer.alloc(16)
  const opcTemplate = token.form(cardKeySpec('aes-cmac')).template({ type: CKA.VALUE, value: opc })
  const iv = doubleBlock(Buffer.alloc(16, 3))
  const data = Buffer.alloc(16)
  const derive = { mechanism: CKM.AES_CBC_ENCRYPT_DATA, parameter: { type: pkcs11js.CK_PARAMS_AES_CBC, iv, data } }
  const generate = { mechanism: CKM.AES_KEY_GEN }
  const kwp = { mechanism: token.kwp }
  const ecb = { mechanism: CKM.AES_ECB }
  const cmac = { mechanism: CKM.AES_CMAC }
  const protection = [{ type: CKA.SENSITIVE }, { type: CKA.WRAP_WITH_TRUSTED }]
  const ones = Buffer.alloc(16, 1)
  const zeros = Buffer.alloc(16)
  const op = Buffer.alloc(16, 5)
  const block = Buffer.alloc(16)
  const wrapped = Buffer.alloc(24)
  const kdd = Buffer.alloc(10, 0x98)
  const macInputs = [DELIVERY_ROW_BYTES, CARD_ROW_BYTES, RESERVED_ROW_BYTES, CERTIFICATE_ROW_BYTES, 26, 26, 20].map((bytes) => Buffer.alloc(bytes))
  const ca = roots.signing.get(ROOT_KEYS.cards)?.handle as Handle
  const pairTemplate = token.form(freshSpec('ec-p256')).template()
  const publicTemplate = token.form(P256_PUBLIC).template({ type: CKA.EC_PARAMS, value: P256_PARAMS })
  const digest = Buffer.alloc(32, 7)
  const signature = Buffer.alloc(64)
  const wrappedPair = Buffer.alloc(160)

  const mac = (key: Handle, message: Buffer): void => {
    lib.C_SignInit(session, cmac, key)
    lib.C_Sign(session, message, block)
  }
  const finish = (key: Handle, method: 'aes-gp' | 'aes-cmac'): void => {
    lib.C_GetAttributeValue(session, key, protection)
    if (method === 'aes-cmac') mac(key, zeros)
    else {
      lib.C_EncryptInit(session, ecb, key)
      lib.C_Encrypt(session, ones, block)
    }
    lib.C_WrapKey(session, kwp, kek, key, wrapped)
  }
  return (at) => {
    kdd.writeUInt32BE(at, 4)
    const ki = lib.C_GenerateKey(session, generate, kiTemplate)
    finish(ki, 'aes-cmac')
    lib.C_WrapKey(session, kwp, kek, ki, wrapped)
    lib.C_EncryptInit(session, ecb, ki)
    lib.C_Encrypt(session, op, opc)
    const opcKey = lib.C_CreateObject(session, opcTemplate)
    finish(opcKey, 'aes-cmac')
    lib.C_DestroyObject(session, opcKey)
    lib.C_DestroyObject(session, ki)
    for (let type = 1; type <= 3; type++) {
      kdf3Block(type, kdd, data)
      const key = lib.C_DeriveKey(session, derive, master, gpTemplate)
      finish(key, 'aes-gp')
      lib.C_DestroyObject(session, key)
    }
    kdf3Block(0x10, kdd, data)
    const auth = lib.C_DeriveKey(session, derive, master, authTemplate)
    finish(auth, 'aes-cmac')
    lib.C_DestroyObject(session, auth)
    const pair = lib.C_GenerateKeyPair(session, { mechanism: CKM.EC_KEY_PAIR_GEN }, publicTemplate, pairTemplate)
    lib.C_GetAttributeValue(session, pair.privateKey, protection)
    lib.C_GetAttributeValue(session, pair.publicKey, [{ type: CKA.EC_POINT }])
    lib.C_WrapKey(session, kwp, kek, pair.privateKey, wrappedPair)
    lib.C_DestroyObject(session, pair.privateKey)
    lib.C_DestroyObject(session, pair.publicKey)
    lib.C_SignInit(session, { mechanism: CKM.ECDSA }, ca)
    lib.C_Sign(session, digest, signature)
    for (const message of macInputs) mac(macKey, message)
  }
}
