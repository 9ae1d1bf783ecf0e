import { timingSafeEqual } from 'node:crypto'
import type { Handle } from 'pkcs11js'
import type { KeyId } from '../core/ids.ts'
import { Problem } from '../core/problem.ts'
import { decodeRow, type Row } from '../core/row.ts'
import { isKeyAlgorithm, kcvOf, loadedSpec, P256_PUBLIC } from './algorithms.ts'
import type { KeyAlgorithm } from './contract.ts'
import { HandleCache } from './handle-cache.ts'
import { CKK, CKM, P256_PARAMS, p256Point } from './mechanisms.ts'
import { assertGenerations, currentOf, findRootKeys, type GenerationHandle, type RootHandles } from './root-handles.ts'
import type { GenerationsInUse, RotatedKey } from './root-key-generations.ts'
import { CKA, CKO, type KeyForm, type KeySpec } from './templates.ts'
import { isNotUnwrapped } from './unwrap-error.ts'
import type { Token } from './token.ts'

/** A sealed row as it comes to a lane: the exact bytes that were MACed. */
export interface SealedBytes {
  /** What the row's id must be. */
  readonly id: KeyId
  /** `encodeRow` of the row. */
  readonly row: Uint8Array
  readonly mac: Uint8Array
}

export interface LoadedKey {
  readonly algorithm: KeyAlgorithm
  readonly handle: Handle
  /** The public part in the token, made at the first verification. */
  publicKey?: Handle
  /** The column `public_key` of its row, of a key pair: SPKI DER. */
  readonly spki: Uint8Array | undefined
}

export interface LoadedMaster {
  readonly handle: Handle
  readonly k1: Buffer
}

interface Cached<Value> {
  readonly row: Buffer
  readonly mac: Buffer
  readonly value: Value
}

const isFrom = (cached: Cached<unknown>, { row, mac }: SealedBytes): boolean => cached.row.equals(row) && cached.mac.equals(mac)

/** Transport keys and masters whose handles are remembered. */
const MOST_NAMED = 1000

/** An AES-128 card key as it is made: it leaves once, under a trusted key. */
export const cardKeySpec = (kcv: 'aes-gp' | 'aes-cmac', encrypts = kcv === 'aes-gp'): KeySpec => ({
  class: CKO.SECRET,
  keyType: CKK.AES,
  uses: [...(encrypts ? (['encrypt'] as const) : []), ...(kcv === 'aes-cmac' ? (['sign'] as const) : [])],
  mechanisms: [...(encrypts ? [CKM.AES_ECB] : []), ...(kcv === 'aes-cmac' ? [CKM.AES_CMAC] : [])],
  extractable: true,
  wrapWithTrusted: true,
})

/** KDF3 (SP 800-108 in counter mode with CMAC, one block) of GlobalPlatform: `01 000000 t 00 KDD`. */
export function kdf3Block(type: number, kdd: Uint8Array, out: Buffer = Buffer.alloc(16)): Buffer {
  if (kdd.length !== 10) throw new RangeError('diversification data has 10 bytes')
  out.fill(0, 0, 6)
  out[0] = 1
  out[4] = type
  out.set(kdd, 6)
  return out
}

/** CMAC's subkey K1 (RFC 4493 2.3) from E(key, 0): doubled in GF(2^128). */
export function doubleBlock(block: Uint8Array): Buffer {
  const doubled = Buffer.alloc(16)
  let carry = 0
  for (let at = 15; at >= 0; at--) {
    const byte = block[at] ?? 0
    doubled[at] = ((byte << 1) | carry) & 0xff
    carry = byte >> 7
  }
  doubled[15] = (doubled[15] ?? 0) ^ (carry === 1 ? 0x87 : 0)
  return doubled
}

/** The keys that a lane holds. A row is believed only after its MAC; a key is cached with the exact row and MAC that it came from. */
export class LaneKeys {
  readonly token: Token
  roots: RootHandles
  #inUse: GenerationsInUse | undefined
  readonly #stored: HandleCache<Cached<LoadedKey>>
  /** Of token objects: nothing is destroyed when one goes. */
  readonly #masters = new HandleCache<Cached<LoadedMaster>>(MOST_NAMED, () => undefined)
  /** Of each algorithm: the first key of a form is read back as a whole, every later one in what protects it. */
  readonly #forms = new Map<KeyAlgorithm, KeyForm>()
  readonly #named = new HandleCache<Handle>(MOST_NAMED, () => undefined)

  /** `capacity`: how many keys of the database stay unwrapped; the least recently used goes first. */
  constructor(token: Token, capacity: number, inUse?: GenerationsInUse) {
    this.token = token
    this.#inUse = inUse
    this.roots = findRootKeys(token, inUse)
    this.#stored = new HandleCache(capacity, ({ value: { handle, publicKey } }) => this.token.destroy(handle, ...(publicKey === undefined ? [] : [publicKey])))
  }

  /** After a reopened session: session objects are gone, token objects are looked up again. */
  forget(): void {
    this.#stored.forget()
    this.#masters.forget()
    this.#named.forget()
    this.#forms.clear()
    this.roots = findRootKeys(this.token, this.#inUse)
  }

  /** From now on these generations. Throws where one is not in the token, or is another key than was recorded. */
  use(inUse: GenerationsInUse): void {
    const roots = findRootKeys(this.token, inUse)
    assertGenerations(this.token, roots, inUse)
    this.#inUse = inUse
    this.roots = roots
  }

  /** The generation that new things are made with. */
  current(key: RotatedKey): Handle {
    return currentOf(this.roots, key)
  }

  /** Which generation's MAC this is. Nothing tells beforehand: the newest is tried first, then those before it. */
  sealedBy(key: 'row-mac' | 'group-mac', message: Uint8Array, mac: Uint8Array): GenerationHandle | undefined {
    return this.roots.rotated[key].all.find(({ handle }) => {
      const right = this.token.cmac(handle, message)
      return mac.length === right.length && timingSafeEqual(right, mac)
    })
  }

  isSealed(row: Uint8Array, mac: Uint8Array): boolean {
    return this.sealedBy('row-mac', row, mac) !== undefined
  }

  /**
   * A key, and the generation of the storage KEK that it was wrapped under. A blob does not name it, and need not: AES-KWP puts 64 bits before the key, the
   * constant A65959A6 and the key's length, and who unwraps checks them and the padding (RFC 5649 clause 3, "Alternative Initial Value"). Under another KEK they are random:
   * the chance that one opens is under 2^-60. Throws `integrity-failed` where it opens under none.
   */
  unwrap(wrapped: Uint8Array, form: KeyForm): { readonly handle: Handle; readonly kek: GenerationHandle } {
    const opened = this.#tryUnwrap(wrapped, form)
    if (opened !== undefined && !('error' in opened)) return opened
    // Some tokens tell a blob that does not open by an error that one which fails gives too: so it is asked whether it opens what it has just wrapped.
    if (!this.#opensItsOwn()) throw opened?.error
    const again = this.#tryUnwrap(wrapped, form)
    if (again !== undefined && !('error' in again)) return again
    throw new Problem('integrity-failed', 'A stored key opens under no storage KEK that the service knows. It was not used.')
  }

  #tryUnwrap(wrapped: Uint8Array, form: KeyForm): { readonly handle: Handle; readonly kek: GenerationHandle } | { readonly error: unknown } | undefined {
    let first: { readonly error: unknown } | undefined
    for (const kek of this.roots.rotated['storage-kek'].all) {
      try {
        return { handle: this.token.unwrap(kek.handle, wrapped, form), kek }
      } catch (error) {
        if (!isNotUnwrapped(error)) throw error
        first ??= { error }
      }
    }
    return first
  }

  #opensItsOwn(): boolean {
    const kek = this.current('storage-kek')
    const form = this.token.form({ ...cardKeySpec('aes-gp'), uses: [], mechanisms: [] })
    const key = this.token.generate(form, 16)
    try {
      this.token.destroy(this.token.unwrap(kek, this.token.wrap(kek, key), form))
      return true
    } catch {
      return false
    } finally {
      this.token.destroy(key)
    }
  }

  /** The row, once its MAC and its id are right. Throws the problem `integrity-failed`. */
  open(sealed: SealedBytes): Row {
    const row = this.isSealed(sealed.row, sealed.mac) ? decodeRow(sealed.row) : undefined
    if (row?.id !== sealed.id) throw new Problem('integrity-failed', `The stored row of ${sealed.id} is not what the service wrote. The key was not used.`)
    return row
  }

  /** A key of the database, unwrapped now or before from exactly these bytes. */
  load(sealed: SealedBytes): LoadedKey {
    const cached = this.#stored.get(sealed.id)
    if (cached !== undefined && isFrom(cached, sealed)) return cached.value
    // Its own bytes: what came in a message keeps the whole message alive.
    const [row, mac] = [Buffer.from(sealed.row), Buffer.from(sealed.mac)]
    const { algorithm, wrapped, public_key: spki } = this.open({ id: sealed.id, row, mac }).columns
    if (!isKeyAlgorithm(algorithm) || !(wrapped instanceof Uint8Array)) throw new Error('a key row lacks its algorithm or its wrapped key')
    const { handle } = this.unwrap(wrapped, this.#form(algorithm))
    const value: LoadedKey = { algorithm, handle, spki: spki instanceof Uint8Array ? spki : undefined }
    this.#stored.set(sealed.id, { row, mac, value })
    return value
  }

  #form(algorithm: KeyAlgorithm): KeyForm {
    const known = this.#forms.get(algorithm)
    if (known !== undefined) return known
    const form = this.token.form(loadedSpec(algorithm))
    this.#forms.set(algorithm, form)
    return form
  }

  /** The public part of an ec-p256 key, from the column `public_key` (SPKI DER) of its sealed row. */
  publicKey(key: LoadedKey): Handle {
    if (key.publicKey === undefined) {
      const ecPoint = key.spki === undefined ? undefined : p256Point(key.spki)
      if (ecPoint === undefined) throw new Error('an ec-p256 row lacks its public_key')
      key.publicKey = this.token.importKey(this.token.form(P256_PUBLIC), { type: CKA.EC_PARAMS, value: P256_PARAMS }, { type: CKA.EC_POINT, value: ecPoint })
    }
    return key.publicKey
  }

  /** A key that lives in the token under its id: a transport key or a master, and nothing else. */
  named(id: KeyId, kind: 'transport' | 'master'): Handle {
    if (!id.startsWith(`${kind}:`)) throw new Error(`${id} is not the id of a ${kind} key`)
    const known = this.#named.get(id)
    if (known !== undefined) return known
    const found = this.token.find(CKO.SECRET, id)
    if (found === undefined) throw new Error(`the token has no key of the name ${id}`)
    this.#named.set(id, found)
    return found
  }

  /** A card master, whose K1 was proved by its known-answer KCV. Throws the problem `integrity-failed`. */
  master(sealed: SealedBytes): LoadedMaster {
    const cached = this.#masters.get(sealed.id)
    if (cached !== undefined && isFrom(cached, sealed)) return cached.value
    const { k1, kat_kcv: expected } = this.open(sealed).columns
    if (!(k1 instanceof Uint8Array) || k1.length !== 16 || !(expected instanceof Uint8Array)) throw new Error('a master row lacks its k1 or its kat_kcv')
    const value = { handle: this.named(sealed.id, 'master'), k1: Buffer.from(k1) }
    if (!masterKcv(this.token, value).equals(expected)) {
      throw new Problem('integrity-failed', `The card master ${sealed.id} is not the key that its row describes. No card key was made.`)
    }
    this.#masters.set(sealed.id, { row: Buffer.from(sealed.row), mac: Buffer.from(sealed.mac), value })
    return value
  }
}

/** The known-answer KCV (aes-gp) of a master: of its ENC key (type 1) for the diversification data 00 * 10. */
export function masterKcv(token: Token, { handle, k1 }: LoadedMaster): Buffer {
  const key = token.deriveCbc(handle, k1, kdf3Block(1, Buffer.alloc(10)), token.form(cardKeySpec('aes-gp')))
  try {
    return Buffer.from(kcvOf(token, 'aes-gp', key))
  } finally {
    token.destroy(key)
  }
}
