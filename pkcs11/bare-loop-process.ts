import pkcs11js, { type Handle } from 'pkcs11js'
import type { BareLoop } from './bare-loop.ts'
import { cardKeySpec, doubleBlock, kdf3Block } from './lane-keys.ts'
import { CKK, CKM, P256_PARAMS } from './mechanisms.ts'
import { findRootKeys } from './root-handles.ts'
import { CKA, CKO } from './templates.ts'
import { Token } from './token.ts'

process.on('disconnect', () => process.exit(0))
process.once('message', ({ token: settings, loop, seconds }: BareLoop) => {
  const token = Token.open(settings, settings.pinFile, { writable: false })
  const step = loop === 'fill' ? cards(token) : signatures(token)
  for (let warm = 0; warm < 50; warm++) step(warm)
  const start = performance.now()
  let done = 0
  while (performance.now() - start < seconds * 1000) for (let at = 0; at < 20; at++) step(done++)
  process.send?.(done / ((performance.now() - start) / 1000), () => process.exit(0))
})

/** One P-256 signature over a ready digest. */
function signatures(token: Token): (at: number) => void {
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

/**
 * One card of the profile grid-usim-1: Ki (random) and OPc, three GlobalPlatform keys and an authentication key by KDF3; six wraps for the vendor,
 * one for the database, six KCVs. Templates, mechanisms and buffers are made once.
 */
function cards(token: Token): (at: number) => void {
  const { lib, handle: session } = token
  const kek = findRootKeys(token).storageKek // stands for the transport key too: both are TRUSTED AES-256 keys that wrap by KWP
  const master = token.generate(token.form({ class: CKO.SECRET, keyType: CKK.AES, uses: ['derive'], mechanisms: [CKM.AES_CBC_ENCRYPT_DATA] }), 32)
  const gp = token.form(cardKeySpec('aes-gp'))
  const length = { type: CKA.VALUE_LEN, value: 16 }
  const template = gp.template(length)
  const authTemplate = token.form(cardKeySpec('aes-cmac')).template(length)
  const opc = Buffer.alloc(16)
  const opcTemplate = gp.template({ type: CKA.VALUE, value: opc })
  const iv = doubleBlock(Buffer.alloc(16, 3))
  const data = Buffer.alloc(16)
  const derive = { mechanism: CKM.AES_CBC_ENCRYPT_DATA, parameter: { type: pkcs11js.CK_PARAMS_AES_CBC, iv, data } }
  const generate = { mechanism: CKM.AES_KEY_GEN }
  const kwp = { mechanism: token.kwp }
  const ecb = { mechanism: CKM.AES_ECB }
  const cmac = { mechanism: CKM.AES_CMAC }
  const ones = Buffer.alloc(16, 1)
  const zeros = Buffer.alloc(16)
  const op = Buffer.alloc(16, 5)
  const block = Buffer.alloc(16)
  const wrapped = Buffer.alloc(24)
  const kdd = Buffer.alloc(10, 0x98)

  const finish = (key: Handle): void => {
    lib.C_EncryptInit(session, ecb, key)
    lib.C_Encrypt(session, ones, block)
    lib.C_WrapKey(session, kwp, kek, key, wrapped)
  }
  return (at) => {
    kdd.writeUInt32BE(at, 4)
    const ki = lib.C_GenerateKey(session, generate, template)
    finish(ki)
    lib.C_WrapKey(session, kwp, kek, ki, wrapped)
    lib.C_EncryptInit(session, ecb, ki)
    lib.C_Encrypt(session, op, opc)
    const opcKey = lib.C_CreateObject(session, opcTemplate)
    finish(opcKey)
    lib.C_DestroyObject(session, opcKey)
    lib.C_DestroyObject(session, ki)
    for (let type = 1; type <= 3; type++) {
      kdf3Block(type, kdd, data)
      const key = lib.C_DeriveKey(session, derive, master, template)
      finish(key)
      lib.C_DestroyObject(session, key)
    }
    kdf3Block(0x10, kdd, data)
    const auth = lib.C_DeriveKey(session, derive, master, authTemplate)
    lib.C_SignInit(session, cmac, auth)
    lib.C_Sign(session, zeros, block)
    lib.C_WrapKey(session, kwp, kek, auth, wrapped)
    lib.C_DestroyObject(session, auth)
  }
}
