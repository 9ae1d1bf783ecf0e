import graphene from 'graphene-pk11'
import pkcs11js, { type Attribute, type Handle, type PKCS11 } from 'pkcs11js'
import { cryptokiError } from './errors.ts'
import { KNOWN_ANSWERS } from './known-answers.ts'
import { CKK, CKM, KWP_CANDIDATES } from './mechanisms.ts'
import { Pin } from './pin.ts'
import { CKA, CKO, KeyForm, type KeySpec } from './templates.ts'

/** Which token of which module. With neither label nor serial: the first that is initialised. */
export interface TokenPlace {
  readonly modulePath: string
  readonly token?: string
  readonly serial?: string
}

/** The token that was asked for is not there. */
export class TokenAway extends Error {
  override readonly name = 'TokenAway'
}

const CKF_OS_LOCKING_OK = 2
const ATTRIBUTE_TYPE_INVALID = 0x12
const ZEROS = Buffer.alloc(16)
/** Nothing, at an address: SoftHSM refuses the null pointer that an empty Buffer is. */
const EMPTY = Buffer.alloc(8).subarray(0, 0)

/** Loads and initialises a module; once in a process, and never finalized: SoftHSM reuses handle numbers. */
export function openModule(modulePath: string): graphene.Module {
  const module = graphene.Module.load(modulePath)
  module.initialize({ flags: CKF_OS_LOCKING_OK })
  return module
}

/** The slot of an initialised token. `undefined`: it is not there. */
export function findSlot(module: graphene.Module, place: Omit<TokenPlace, 'modulePath'>): graphene.Slot | undefined {
  const slots = module.getSlots(true)
  for (let at = 0; at < slots.length; at++) {
    const slot = slots.items(at)
    const token = slot.getToken()
    if ((token.flags & graphene.TokenFlag.TOKEN_INITIALIZED) === 0) continue
    if (place.token !== undefined && token.label.trimEnd() !== place.token) continue
    if (place.serial !== undefined && token.serialNumber.trimEnd() !== place.serial) continue
    return slot
  }
  return undefined
}

/**
 * One login on one token, with one session, in this process: what lanes and ceremonies do their calls through. Synchronous.
 * Every method throws pkcs11js's Pkcs11Error, which errors.ts names.
 */
export class Token {
  readonly lib: PKCS11
  readonly serial: string
  readonly label: string
  readonly #slot: graphene.Slot
  readonly #writable: boolean
  #session: graphene.Session
  #kwp: number | undefined
  #takesCopyable: boolean | undefined
  handle: Handle

  private constructor(slot: graphene.Slot, writable: boolean) {
    this.#slot = slot
    this.#writable = writable
    this.lib = slot.lib
    const info = slot.getToken()
    this.serial = info.serialNumber.trimEnd()
    this.label = info.label.trimEnd()
    this.#session = this.#openSession()
    this.handle = this.#session.handle
  }

  /** Opens a session and logs the user in. Throws {@link TokenAway} for whatever fails before the login (no PIN was tried then), or the login's error. */
  static open(place: TokenPlace, pinFile: string, options: { readonly writable: boolean }): Token {
    const token = Token.#find(openModule(place.modulePath), place, options.writable)
    token.login('user', pinFile)
    return token
  }

  static #find(module: graphene.Module, place: TokenPlace, writable: boolean): Token {
    try {
      const slot = findSlot(module, place)
      if (slot !== undefined) return new Token(slot, writable)
    } catch (error) {
      throw new TokenAway(`the token cannot be read: ${error instanceof Error ? error.message : 'unknown'}`)
    }
    throw new TokenAway('the token is not there')
  }

  /** A token whose login changes, for ceremonies. */
  static openWithoutLogin(slot: graphene.Slot): Token {
    return new Token(slot, true)
  }

  /** The number that this token knows AES-KWP (RFC 5649) by. */
  get kwp(): number {
    this.#kwp ??= this.#tellKwp()
    return this.#kwp
  }

  /** Whether it knows CKA_COPYABLE. */
  get takesCopyable(): boolean {
    this.#takesCopyable ??= this.#tryCopyable()
    return this.#takesCopyable
  }

  #openSession(): graphene.Session {
    const { SERIAL_SESSION, RW_SESSION } = graphene.SessionFlag
    return this.#slot.open(this.#writable ? SERIAL_SESSION | RW_SESSION : SERIAL_SESSION)
  }

  login(who: 'user' | 'officer', pinFile: string): void {
    this.#session.login(new Pin(pinFile).read(), who === 'user' ? graphene.UserType.USER : graphene.UserType.SO)
  }

  logout(): void {
    this.#session.logout()
  }

  /** Another session, where the login still stands. What the old one had made is gone. */
  reopenSession(): void {
    this.#session = this.#openSession()
    this.handle = this.#session.handle
  }

  /** Throws {@link TokenAway} unless the slot still holds this token. */
  assertPresent(): void {
    if (this.lib.C_GetTokenInfo(this.#slot.handle).serialNumber.trimEnd() !== this.serial) throw new TokenAway('the slot holds another token')
  }

  form(spec: KeySpec): KeyForm {
    return new KeyForm(spec, this.takesCopyable)
  }

  find(objectClass: number, label: string): Handle | undefined {
    this.lib.C_FindObjectsInit(this.handle, [
      { type: CKA.CLASS, value: objectClass },
      { type: CKA.LABEL, value: label },
    ])
    try {
      const found = this.lib.C_FindObjects(this.handle, 2)
      if (found.length > 1) throw new Error(`the token has two keys of the name ${label}`)
      return found[0]
    } finally {
      this.lib.C_FindObjectsFinal(this.handle)
    }
  }

  /** AES or generic secret key by the token's generator. */
  generate(form: KeyForm, lengthBytes: number): Handle {
    const mechanism = form.spec.keyType === CKK.AES ? CKM.AES_KEY_GEN : CKM.GENERIC_SECRET_KEY_GEN
    return this.#checked(form, this.lib.C_GenerateKey(this.handle, { mechanism }, form.template({ type: CKA.VALUE_LEN, value: lengthBytes })))
  }

  generatePair(mechanism: number, params: Buffer, publicForm: KeyForm, privateForm: KeyForm): { publicKey: Handle; privateKey: Handle } {
    const publicTemplate = publicForm.template({ type: CKA.EC_PARAMS, value: params })
    const pair = this.lib.C_GenerateKeyPair(this.handle, { mechanism }, publicTemplate, privateForm.template())
    this.#checked(publicForm, pair.publicKey)
    this.#checked(privateForm, pair.privateKey)
    return pair
  }

  /** C_CreateObject: only for public keys, published test keys and values that the README admits. */
  importKey(form: KeyForm, ...value: readonly Attribute[]): Handle {
    return this.#checked(form, this.lib.C_CreateObject(this.handle, form.template(...value)))
  }

  /** E(base, data xor iv) as a new key, for one block of data. */
  deriveCbc(base: Handle, iv: Buffer, data: Buffer, form: KeyForm): Handle {
    const parameter = { type: pkcs11js.CK_PARAMS_AES_CBC, iv, data }
    const template = form.template({ type: CKA.VALUE_LEN, value: 16 })
    return this.#checked(form, this.lib.C_DeriveKey(this.handle, { mechanism: CKM.AES_CBC_ENCRYPT_DATA, parameter }, base, template))
  }

  /** AES-KWP into `out`; answers the part that was filled. */
  wrap(wrapping: Handle, key: Handle, out: Buffer = Buffer.alloc(512)): Buffer {
    return this.lib.C_WrapKey(this.handle, { mechanism: this.kwp }, wrapping, key, out)
  }

  unwrap(unwrapping: Handle, wrapped: Uint8Array, form: KeyForm): Handle {
    return this.#checked(form, this.lib.C_UnwrapKey(this.handle, { mechanism: this.kwp }, unwrapping, Buffer.from(wrapped), form.template()))
  }

  /** AES of one block into `out`. */
  encryptBlock(key: Handle, block: Buffer, out: Buffer = Buffer.alloc(16)): Buffer {
    this.lib.C_EncryptInit(this.handle, { mechanism: CKM.AES_ECB }, key)
    return this.lib.C_Encrypt(this.handle, block, out)
  }

  sign(mechanism: number, key: Handle, message: Uint8Array, out: Buffer): Buffer {
    this.lib.C_SignInit(this.handle, { mechanism }, key)
    return this.lib.C_Sign(this.handle, (message.length === 0 ? EMPTY : message) as Buffer, out)
  }

  cmac(key: Handle, message: Uint8Array): Buffer {
    return this.sign(CKM.AES_CMAC, key, message, Buffer.alloc(16))
  }

  read(key: Handle, type: number): Buffer {
    const value = this.lib.C_GetAttributeValue(this.handle, key, [{ type }])[0]?.value
    if (!Buffer.isBuffer(value)) throw new Error(`the token does not tell attribute 0x${type.toString(16)}`)
    return value
  }

  destroy(...keys: readonly Handle[]): void {
    for (const key of keys) this.lib.C_DestroyObject(this.handle, key)
  }

  #checked(form: KeyForm, key: Handle): Handle {
    try {
      form.assert(this.lib, this.handle, key)
    } catch (error) {
      this.lib.C_DestroyObject(this.handle, key)
      throw error
    }
    return key
  }

  #knownKey(keyType: number, value: Buffer, uses: KeySpec['uses'], takesCopyable = this.takesCopyable): Handle {
    const spec: KeySpec = { class: CKO.SECRET, keyType, uses, mechanisms: [...KWP_CANDIDATES], extractable: true, insecurePublic: true }
    return this.lib.C_CreateObject(this.handle, new KeyForm(spec, takesCopyable).template({ type: CKA.VALUE, value }))
  }

  #tryCopyable(): boolean {
    try {
      this.destroy(this.#knownKey(CKK.AES, ZEROS, [], true))
      return true
    } catch (error) {
      if (cryptokiError(error)?.code === ATTRIBUTE_TYPE_INVALID) return false
      throw error
    }
  }

  /** Tells the two numbers of AES-KWP apart by a published value: KW over PKCS#7 padding gives a longer one. */
  #tellKwp(): number {
    const [example] = KNOWN_ANSWERS.kwp
    const kek = this.#knownKey(CKK.AES, Buffer.from(example.kek, 'hex'), ['wrap'])
    const key = this.#knownKey(CKK.AES, Buffer.from(example.key, 'hex'), [])
    try {
      for (const mechanism of KWP_CANDIDATES) {
        try {
          const wrapped = this.lib.C_WrapKey(this.handle, { mechanism }, kek, key, Buffer.alloc(64))
          if (wrapped.toString('hex') === example.wrapped) return mechanism
        } catch (error) {
          if (cryptokiError(error) === undefined) throw error
        }
      }
    } finally {
      this.destroy(kek, key)
    }
    throw new Error('the token has no AES-KWP (RFC 5649)')
  }
}
