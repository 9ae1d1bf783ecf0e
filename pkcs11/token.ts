import graphene from 'graphene-pk11'
import pkcs11js, { type Attribute, type Handle, type PKCS11, type Template, type TokenInfo } from 'pkcs11js'
import { Problem } from '../core/problem.ts'
import { cryptokiError } from './errors.ts'
import { KNOWN_ANSWERS } from './known-answers.ts'
import { CKK, CKM, describeMechanism, KWP_CANDIDATES } from './mechanisms.ts'
import { NO_BYTES } from './no-bytes.ts'
import { Pin, type PinSource } from './pin.ts'
import { findSlot, openModule, tokenInfo, type TokenPlace } from './slots.ts'
import { CKA, CKO, KeyForm, type KeySpec } from './templates.ts'

/** What module and token say of themselves. */
export interface TokenFacts {
  readonly module: { readonly manufacturer: string; readonly description: string; readonly version: string; readonly cryptoki: string }
  readonly label: string
  readonly serial: string
  readonly manufacturer: string
  readonly model: string
}

/** The token that was asked for is not there. */
export class TokenAway extends Error {
  override readonly name = 'TokenAway'
}

const ATTRIBUTE_TYPE_INVALID = 0x12
/** By these a token says that it cannot do what was asked. */
const FUNCTION_NOT_SUPPORTED = 0x54
const MECHANISM_INVALID = 0x70
const ZEROS = Buffer.alloc(16)

/** What the token itself answered, behind the problem that {@link Token.ask} makes of it. */
export const tokenError = (error: unknown): unknown => (error instanceof Problem && cryptokiError(error.cause) !== undefined ? error.cause : error)

/**
 * One login on one token, with one session, in this process: what lanes and ceremonies do their calls through. Synchronous.
 * Every method throws pkcs11js's Pkcs11Error, which errors.ts names; those that use a mechanism the problem `mechanism-unsupported` where the token has none
 * of it, with the token's error as its cause.
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
  /** Objects that were made here so far. */
  made = 0

  private constructor(slot: graphene.Slot, writable: boolean, info: Pick<TokenInfo, 'serialNumber' | 'label'> = tokenInfo(slot)) {
    this.#slot = slot
    this.#writable = writable
    this.lib = slot.lib
    this.serial = info.serialNumber.trimEnd()
    this.label = info.label.trimEnd()
    this.#session = this.#openSession()
    this.handle = this.#session.handle
  }

  /** Opens a session and logs the user in. Throws {@link TokenAway} for whatever fails before the login (no PIN was tried then), or the login's error. */
  static open(place: TokenPlace, pinSource: PinSource, options: { readonly writable: boolean }): Token {
    const token = Token.#find(openModule(place), place, options.writable)
    token.login('user', pinSource)
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

  /** A token whose login comes later, or changes. `writable`: default true. */
  static openWithoutLogin(slot: graphene.Slot, { writable = true }: { readonly writable?: boolean } = {}): Token {
    return new Token(slot, writable)
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

  login(who: 'user' | 'officer', pinSource: PinSource): void {
    this.#session.login(Pin.of(pinSource).read(), who === 'user' ? graphene.UserType.USER : graphene.UserType.SO)
  }

  logout(): void {
    this.#session.logout()
  }

  /** Another session, where the login still stands. What the old one had made is gone. */
  reopenSession(): void {
    const old = this.#session
    this.#session = this.#openSession() // before the other is closed: the login ends with the last session
    this.handle = this.#session.handle
    try {
      old.close()
    } catch {
      // It was gone already.
    }
  }

  /** Work in another session of the same login, which is closed afterwards: what was made in it is gone then. */
  apart<Result>(work: (token: Token) => Result): Result {
    return this.#inSession(this.#writable, work)
  }

  /** As {@link apart}, in a session that may write token objects. */
  writing<Result>(work: (token: Token) => Result): Result {
    return this.#inSession(true, work)
  }

  #inSession<Result>(writable: boolean, work: (token: Token) => Result): Result {
    const other = new Token(this.#slot, writable, { serialNumber: this.serial, label: this.label })
    other.#takesCopyable = this.takesCopyable
    other.#kwp = this.#kwp
    try {
      return work(other)
    } finally {
      this.#kwp ??= other.#kwp
      other.#session.close()
    }
  }

  /** Throws {@link TokenAway} unless the slot still holds this token. */
  assertPresent(): void {
    const isThis = ({ serialNumber }: TokenInfo): boolean => serialNumber.trimEnd() === this.serial
    if (!isThis(tokenInfo(this.#slot, isThis))) throw new TokenAway('the slot holds another token')
  }

  get facts(): TokenFacts {
    const { manufacturerID, libraryDescription, libraryVersion, cryptokiVersion } = this.lib.C_GetInfo()
    const { manufacturerID: manufacturer, model } = tokenInfo(this.#slot)
    const version = ({ major, minor }: { readonly major: number; readonly minor: number }): string => `${major}.${minor}`
    return {
      module: {
        manufacturer: manufacturerID.trimEnd(),
        description: libraryDescription.trimEnd(),
        version: version(libraryVersion),
        cryptoki: version(cryptokiVersion),
      },
      label: this.label,
      serial: this.serial,
      manufacturer: manufacturer.trimEnd(),
      model: model.trimEnd(),
    }
  }

  /** The mechanisms that the token says it has. What it does is another matter: see capabilities.ts. */
  listMechanisms(): number[] {
    return this.lib.C_GetMechanismList(this.#slot.handle)
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

  /** All objects that a template matches. */
  findAll(template: Template): Handle[] {
    const found: Handle[] = []
    this.lib.C_FindObjectsInit(this.handle, template)
    try {
      for (let page = this.lib.C_FindObjects(this.handle, 100); page.length > 0; page = this.lib.C_FindObjects(this.handle, 100)) found.push(...page)
    } finally {
      this.lib.C_FindObjectsFinal(this.handle)
    }
    return found
  }

  /** The labels of all token objects of a class, each once. */
  listLabels(objectClass: number): string[] {
    const found = this.findAll([
      { type: CKA.CLASS, value: objectClass },
      { type: CKA.TOKEN, value: true },
    ])
    return [...new Set(found.map((handle) => this.read(handle, CKA.LABEL).toString('utf8')))]
  }

  /** AES or generic secret key by the token's generator. */
  generate(form: KeyForm, lengthBytes: number): Handle {
    const mechanism = form.spec.keyType === CKK.AES ? CKM.AES_KEY_GEN : CKM.GENERIC_SECRET_KEY_GEN
    const template = form.template({ type: CKA.VALUE_LEN, value: lengthBytes })
    return this.#checked(
      form,
      this.ask(mechanism, () => this.lib.C_GenerateKey(this.handle, { mechanism }, template)),
    )
  }

  generatePair(mechanism: number, params: Buffer, publicForm: KeyForm, privateForm: KeyForm): { publicKey: Handle; privateKey: Handle } {
    const publicTemplate = publicForm.template({ type: CKA.EC_PARAMS, value: params })
    const pair = this.ask(mechanism, () => this.lib.C_GenerateKeyPair(this.handle, { mechanism }, publicTemplate, privateForm.template()))
    this.made += 2
    try {
      publicForm.assert(this.lib, this.handle, pair.publicKey)
      privateForm.assert(this.lib, this.handle, pair.privateKey)
    } catch (error) {
      this.destroy(pair.publicKey, pair.privateKey)
      throw error
    }
    return pair
  }

  /** C_CreateObject: only for public keys, published test keys and values that the README admits. */
  importKey(form: KeyForm, ...value: readonly Attribute[]): Handle {
    return this.#checked(form, this.lib.C_CreateObject(this.handle, form.template(...value)))
  }

  /** E(base, data xor iv) as a new key, for one block of data. */
  deriveCbc(base: Handle, iv: Buffer, data: Buffer, form: KeyForm): Handle {
    const mechanism = { mechanism: CKM.AES_CBC_ENCRYPT_DATA, parameter: { type: pkcs11js.CK_PARAMS_AES_CBC, iv, data } }
    const template = form.template({ type: CKA.VALUE_LEN, value: 16 })
    return this.#checked(
      form,
      this.ask(mechanism.mechanism, () => this.lib.C_DeriveKey(this.handle, mechanism, base, template)),
    )
  }

  /** AES-KWP into `out`; answers the part that was filled. */
  wrap(wrapping: Handle, key: Handle, out: Buffer = Buffer.alloc(512)): Buffer {
    return this.ask(this.kwp, () => this.lib.C_WrapKey(this.handle, { mechanism: this.kwp }, wrapping, key, out))
  }

  unwrap(unwrapping: Handle, wrapped: Uint8Array, form: KeyForm): Handle {
    return this.#checked(
      form,
      this.ask(this.kwp, () => this.lib.C_UnwrapKey(this.handle, { mechanism: this.kwp }, unwrapping, Buffer.from(wrapped), form.template())),
    )
  }

  /** AES of one block into `out`. */
  encryptBlock(key: Handle, block: Buffer, out: Buffer = Buffer.alloc(16)): Buffer {
    this.ask(CKM.AES_ECB, () => this.lib.C_EncryptInit(this.handle, { mechanism: CKM.AES_ECB }, key))
    return this.lib.C_Encrypt(this.handle, block, out)
  }

  sign(mechanism: number, key: Handle, message: Uint8Array, out: Buffer): Buffer {
    this.ask(mechanism, () => this.lib.C_SignInit(this.handle, { mechanism }, key))
    return this.lib.C_Sign(this.handle, (message.length === 0 ? NO_BYTES : message) as Buffer, out)
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

  /** Does what needs a mechanism. Throws the problem `mechanism-unsupported`, which names it and the token, where the token says that it has none of it. */
  ask<Result>(mechanism: number, work: () => Result): Result {
    try {
      return work()
    } catch (error) {
      const code = cryptokiError(error)?.code
      throw code === MECHANISM_INVALID || code === FUNCTION_NOT_SUPPORTED ? this.#unsupported(describeMechanism(mechanism), error) : error
    }
  }

  #unsupported(mechanism: string, cause: unknown): Problem {
    const detail = `The token ${this.label} (serial ${this.serial}) does not do ${mechanism}. Nothing was done; what it can do is told by: gridseal token check.`
    return new Problem('mechanism-unsupported', detail, { cause })
  }

  #checked(form: KeyForm, key: Handle): Handle {
    this.made += 1
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
    let last: unknown
    try {
      for (const mechanism of KWP_CANDIDATES) {
        try {
          const wrapped = this.lib.C_WrapKey(this.handle, { mechanism }, kek, key, Buffer.alloc(64))
          if (wrapped.toString('hex') === example.wrapped) return mechanism
        } catch (error) {
          if (cryptokiError(error) === undefined) throw error
          last = error
        }
      }
    } finally {
      this.destroy(kek, key)
    }
    throw this.#unsupported(`AES-KWP (RFC 5649) by ${KWP_CANDIDATES.map(describeMechanism).join(' or ')}`, last)
  }
}
