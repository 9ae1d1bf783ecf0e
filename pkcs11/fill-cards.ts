import { hash } from 'node:crypto'
import type { Handle } from 'pkcs11js'
import type { KeyId } from '../core/ids.ts'
import { freshSpec, P256_PUBLIC } from './algorithms.ts'
import { assertPlan, cardLayout, MAX_CARDS, MOST_WRAPPED_PKCS8, WRAPPED_LENGTH } from './card-layout.ts'
import type { CardKeyPlan } from './contract.ts'
import { cardKeySpec, kdf3Block, type LaneKeys, type LoadedMaster, type SealedBytes } from './lane-keys.ts'
import { CKM, P256_PARAMS, p256Spki } from './mechanisms.ts'
import { readOperatorValue } from './operator-value.ts'
import { CKA, type KeyForm } from './templates.ts'
import type { Token } from './token.ts'

export interface FillCards {
  readonly master: SealedBytes
  readonly operatorKey: SealedBytes
  readonly transportKeyId: KeyId
  readonly plan: readonly CardKeyPlan[]
  /** EF.ICCID of each card, 10 bytes each, one after the other. */
  readonly kdds: Uint8Array
}

/** After so many cards the lane looks for other calls, so that a chunk does not hold a signature up for 100 ms. */
const SLICE = 16
const KDD_LENGTH = 10
const nextTurn = (): Promise<void> => new Promise((resolve) => void setImmediate(resolve))

type Step = ReturnType<typeof cardLayout>['keys'][number] & {
  readonly form: KeyForm
  /** Of a key pair. */
  readonly publicForm: KeyForm
  readonly cmac: boolean
}

/** The keys of up to 500 cards, laid out as card-layout.ts says. Each C_ call that a card needs is here, in order. */
export async function fillCards(keys: LaneKeys, { master, operatorKey, transportKeyId, plan, kdds }: FillCards): Promise<Buffer> {
  assertPlan(plan)
  const cards = kdds.length / KDD_LENGTH
  if (!Number.isInteger(cards) || cards > MAX_CARDS) throw new RangeError(`a call fills up to ${MAX_CARDS} cards`)
  const { token } = keys
  const layout = cardLayout(plan)
  const encrypted = new Set(plan.flatMap(({ source }) => (source.kind === 'opc' ? [source.of] : [])))
  const publicForm = token.form(P256_PUBLIC)
  const steps = layout.keys.map((key): Step => {
    const { kcv, purpose } = key.plan
    const spec = kcv === 'spki-sha256' ? freshSpec('ec-p256') : cardKeySpec(kcv, kcv === 'aes-gp' || encrypted.has(purpose))
    return { ...key, form: token.form(spec), publicForm, cmac: kcv === 'aes-cmac' }
  })
  const op = encrypted.size > 0 ? readOperatorValue(keys, operatorKey) : Buffer.alloc(0)
  const card = new CardFill(keys, keys.master(master), keys.named(transportKeyId, 'transport'), steps, op)
  const out = Buffer.alloc(layout.lengthBytes * cards)
  try {
    for (let at = 0; at < cards; at++) {
      const kdd = kdds.subarray(at * KDD_LENGTH, (at + 1) * KDD_LENGTH)
      card.fill(kdd, out.subarray(at * layout.lengthBytes, (at + 1) * layout.lengthBytes))
      if (at % SLICE === SLICE - 1) await nextTurn()
    }
  } finally {
    op.fill(0)
    card.wipe()
  }
  return out
}

class CardFill {
  readonly #token: Token
  readonly #storageKek: Handle
  readonly #master: LoadedMaster
  readonly #transportKey: Handle
  readonly #steps: readonly Step[]
  readonly #op: Buffer
  readonly #block = Buffer.alloc(16)
  readonly #check = Buffer.alloc(16)
  readonly #opc = Buffer.alloc(16)
  readonly #ones = Buffer.alloc(16, 1)
  readonly #zeros = Buffer.alloc(16)

  constructor(keys: LaneKeys, master: LoadedMaster, transportKey: Handle, steps: readonly Step[], op: Buffer) {
    this.#token = keys.token
    this.#storageKek = keys.current('storage-kek')
    this.#master = master
    this.#transportKey = transportKey
    this.#steps = steps
    this.#op = op
  }

  /** Fills one card's part of the answer. Its keys are gone when it returns, also when it throws. */
  fill(kdd: Uint8Array, out: Buffer): void {
    const token = this.#token
    const made: Handle[] = []
    const random = new Map<string, Handle>()
    try {
      for (const step of this.#steps) {
        if (step.publicAt !== undefined) {
          this.#fillPair(step, step.publicAt, out)
          continue
        }
        const key = this.#make(step, kdd, random)
        made.push(key)
        if (step.cmac) token.sign(CKM.AES_CMAC, key, this.#zeros, this.#check)
        else token.encryptBlock(key, this.#ones, this.#check)
        this.#check.copy(out, step.kcvAt, 0, step.kcvLength)
        this.#wrap(this.#transportKey, key, out, step.wrappedAt)
        if (step.storedAt === undefined) continue
        random.set(step.plan.purpose, key)
        this.#wrap(this.#storageKek, key, out, step.storedAt)
      }
    } finally {
      token.destroy(...made)
    }
  }

  /** A key pair: its private key leaves once, under the transport key, and is gone with the session's objects. */
  #fillPair({ form, publicForm, kcvAt, kcvLength, wrappedAt }: Step, publicAt: number, out: Buffer): void {
    const token = this.#token
    const { publicKey, privateKey } = token.generatePair(CKM.EC_KEY_PAIR_GEN, P256_PARAMS, publicForm, form)
    try {
      const spki = p256Spki(token.read(publicKey, CKA.EC_POINT))
      out.set(spki, publicAt)
      hash('sha256', spki, 'buffer').copy(out, kcvAt, 0, kcvLength)
      const wrapped = token.wrap(this.#transportKey, privateKey)
      if (wrapped.length > MOST_WRAPPED_PKCS8) throw new Error('the token wrapped a private key of another length')
      out[wrappedAt] = wrapped.length
      out.set(wrapped, wrappedAt + 1)
    } finally {
      token.destroy(privateKey, publicKey)
    }
  }

  #make({ plan: { source }, form }: Step, kdd: Uint8Array, random: ReadonlyMap<string, Handle>): Handle {
    switch (source.kind) {
      case 'ec-p256':
        throw new Error('a key pair is made in one piece')
      case 'derived':
        return this.#token.deriveCbc(this.#master.handle, this.#master.k1, kdf3Block(source.type, kdd, this.#block), form)
      case 'random':
        return this.#token.generate(form, 16)
      case 'opc':
        return this.#importOpc(random.get(source.of) as Handle, form)
    }
  }

  /** OPc = E(K, OP) xor OP. In clear in this process until it is a key in the token: SoftHSM has no xor. */
  #importOpc(ki: Handle, form: KeyForm): Handle {
    const opc = this.#opc
    this.#token.encryptBlock(ki, this.#op, opc)
    for (let at = 0; at < 16; at++) opc[at] = (opc[at] ?? 0) ^ (this.#op[at] ?? 0)
    try {
      return this.#token.importKey(form, { type: CKA.VALUE, value: opc })
    } finally {
      opc.fill(0)
    }
  }

  #wrap(wrapping: Handle, key: Handle, out: Buffer, at: number): void {
    const wrapped = this.#token.wrap(wrapping, key, out.subarray(at, at + WRAPPED_LENGTH))
    if (wrapped.length !== WRAPPED_LENGTH) throw new Error('the token wrapped a key of another length')
  }

  wipe(): void {
    this.#opc.fill(0)
    this.#block.fill(0)
  }
}
