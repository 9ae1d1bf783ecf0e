import { frame, sha256, unframe } from '../core/bytes.ts'
import type { KeyId } from '../core/ids.ts'
import { encodeRow, type SealedRow } from '../core/row.ts'
import type { Permit } from '../policies/permit.ts'
import { assertPlan, cardLayout, readCards } from './card-layout.ts'
import type { RunCeremony } from './ceremony/run-ceremony.ts'
import type {
  CardMasterMade,
  Ciphers,
  Encrypted,
  FilledKey,
  GeneratedKey,
  Hsm,
  KeyAlgorithm,
  MilenageVerdict,
  Plain,
  Rewrapped,
  RootKeyCeremonies,
  StoredKey,
  TokenKeyAttributes,
  TokenKeys,
  TransportKeyMade,
} from './contract.ts'
import { inParts } from './in-parts.ts'
import type { SealedBytes } from './lane-keys.ts'
import type { Lanes } from './lanes.ts'
import type { GenerationMade } from './ceremony/rotate-root-key.ts'
import type { RotatedKey } from './root-key-generations.ts'
import type { RootKeyId, TokenIdentity } from './root-keys.ts'
import type { RootKeysInUse } from './root-keys-in-use.ts'

const SIGNATURE = 64
const DIGEST = 32
const MAC = 16
/** Signatures of one call: some 2.5 ms of a lane. */
const PART = 64
/** Encryptions of one call: some 3 ms of a lane while they are short. */
const CIPHER_PART = 256
/** Keys that are wrapped anew in one call: some 20 ms of a lane, which looks for other calls meanwhile. */
const REWRAP_PART = 50
/** By the byte that the lane answers: see rewrap.ts. */
const REWRAPPED = ['current', 'rewrapped', 'refused'] as const

/** Bytes that a lane encrypts in a signature's time. */
const BYTES_OF_A_SIGNATURE = 64 * 1024

const sealedBytes = (id: KeyId, sealed: SealedRow): SealedBytes => ({ id, row: encodeRow(sealed.row), mac: sealed.mac })
const isEc = (key: StoredKey): boolean => key.sealed.row.columns['algorithm'] === 'ec-p256'
const split = (bytes: Uint8Array, lengthBytes: number): Uint8Array[] =>
  Array.from({ length: bytes.length / lengthBytes }, (_, at) => bytes.subarray(at * lengthBytes, (at + 1) * lengthBytes))

/** The HSM through lanes. Hashing is done here, so that a lane only does what needs a key. INVARIANT: each method asks the permit first. */
export class LaneHsm implements Hsm, Ciphers, TokenKeys, RootKeyCeremonies {
  readonly #lanes: Lanes
  readonly #keys: RootKeysInUse
  readonly #ceremony: RunCeremony
  readonly #identity: TokenIdentity

  constructor(lanes: Lanes, keys: RootKeysInUse, ceremony: RunCeremony, identity: TokenIdentity) {
    this.#lanes = lanes
    this.#keys = keys
    this.#ceremony = ceremony
    this.#identity = identity
  }

  async generate(permit: Permit, keyId: KeyId, algorithm: KeyAlgorithm): Promise<GeneratedKey> {
    permit.assertAllows('generate', keyId)
    return this.#lanes.any().call('generate', { algorithm })
  }

  async sign(permit: Permit, key: StoredKey, messages: readonly Uint8Array[]): Promise<Uint8Array[]> {
    permit.assertAllows('sign', key.id)
    const [lane, sealed] = [this.#lanes.of(key.id), sealedBytes(key.id, key.sealed)]
    const signatures = await this.#keys.knowing(() =>
      inParts(messages, PART, (part) =>
        lane.call('sign', { key: sealed, items: isEc(key) ? Buffer.concat(part.map((message) => sha256(message))) : frame(part) }, { weight: part.length }),
      ),
    )
    return split(signatures, isEc(key) ? SIGNATURE : DIGEST)
  }

  async verify(permit: Permit, key: StoredKey, items: readonly { readonly message: Uint8Array; readonly signature: Uint8Array }[]): Promise<boolean[]> {
    permit.assertAllows('verify', key.id)
    const [lane, sealed] = [this.#lanes.of(key.id), sealedBytes(key.id, key.sealed)]
    const pairs = (part: typeof items): Uint8Array => frame(part.flatMap(({ message, signature }) => [isEc(key) ? sha256(message) : message, signature]))
    const answers = await this.#keys.knowing(() =>
      inParts(items, PART / 2, (part) => lane.call('verify', { key: sealed, items: pairs(part) }, { weight: 3 * part.length })),
    )
    return Array.from(answers, (answer) => answer === 1)
  }

  async encrypt(permit: Permit, key: StoredKey, items: readonly Plain[]): Promise<Uint8Array[]> {
    permit.assertAllows('encrypt', key.id)
    return unframe(await this.#cipher('encrypt', key, items, ({ plaintext, aad }) => [plaintext, aad]))
  }

  async decrypt(permit: Permit, key: StoredKey, items: readonly Encrypted[]): Promise<(Uint8Array | undefined)[]> {
    permit.assertAllows('decrypt', key.id)
    const fields = unframe(await this.#cipher('decrypt', key, items, ({ ciphertext, aad }) => [ciphertext, aad]))
    return items.map((_, at) => (fields[2 * at]?.[0] === 1 ? fields[2 * at + 1] : undefined))
  }

  #cipher<Item>(verb: 'encrypt' | 'decrypt', key: StoredKey, items: readonly Item[], fieldsOf: (item: Item) => readonly Uint8Array[]): Promise<Buffer> {
    const [lane, sealed] = [this.#lanes.of(key.id), sealedBytes(key.id, key.sealed)]
    return this.#keys.knowing(() =>
      inParts(items, CIPHER_PART, (part) => {
        const framed = frame(part.flatMap(fieldsOf))
        return lane.call(verb, { key: sealed, items: framed }, { weight: Math.ceil(part.length / 4 + framed.length / BYTES_OF_A_SIGNATURE) })
      }),
    )
  }

  async mac(permit: Permit, key: StoredKey, messages: readonly Uint8Array[]): Promise<Uint8Array[]> {
    permit.assertAllows('mac', key.id)
    const call = { key: sealedBytes(key.id, key.sealed), messages: frame(messages) }
    return split(await this.#keys.knowing(() => this.#lanes.of(key.id).call('mac', call, { weight: messages.length })), MAC)
  }

  async signWithRoot(permit: Permit, keyId: RootKeyId, messages: readonly Uint8Array[]): Promise<Uint8Array[]> {
    permit.assertAllows('sign', keyId)
    return split(
      await this.#lanes.any().call('signWithRoot', { keyId, digests: Buffer.concat(messages.map((message) => sha256(message))) }, { weight: messages.length }),
      SIGNATURE,
    )
  }

  rootPublicKey(keyId: RootKeyId): Uint8Array {
    const found = this.#identity.keys.find((key) => key.keyId === keyId)
    if (found === undefined || !('publicKey' in found)) throw new Error(`${keyId} is not a root key with a public part`)
    return found.publicKey
  }

  readAttributes(keyId: KeyId): Promise<TokenKeyAttributes | undefined> {
    return this.#lanes.any().call('readAttributes', { keyId })
  }

  async makeCardMaster(permit: Permit, keyId: KeyId): Promise<CardMasterMade> {
    permit.assertAllows('ceremony', keyId)
    return this.#ceremony('makeCardMaster', { keyId })
  }

  async makeTransportKey(
    permit: Permit,
    { keyId, macKeyId, recipient }: { readonly keyId: KeyId; readonly macKeyId: KeyId; readonly recipient: Uint8Array },
  ): Promise<TransportKeyMade> {
    permit.assertAllows('ceremony', keyId)
    permit.assertAllows('generate', macKeyId)
    return this.#ceremony('makeTransportKey', { keyId, recipient, storageKekId: this.#keys.current('storage-kek') })
  }

  currentGeneration(key: RotatedKey): KeyId {
    return this.#keys.current(key)
  }

  hasOfficer(): boolean {
    return this.#ceremony.hasOfficer
  }

  async makeGeneration(permit: Permit, keyId: KeyId): Promise<GenerationMade> {
    permit.assertAllows('ceremony', keyId)
    return this.#ceremony('makeGeneration', { keyId })
  }

  async destroyGeneration(permit: Permit, request: { readonly keyId: KeyId; readonly successor: KeyId }): Promise<boolean> {
    permit.assertAllows('ceremony', request.keyId)
    return this.#ceremony('destroyGeneration', request)
  }

  async rewrap(permit: Permit, { from, to, keys }: Parameters<RootKeyCeremonies['rewrap']>[1]): Promise<Rewrapped[]> {
    permit.assertAllows('unwrap', from)
    permit.assertAllows('wrap', to)
    const answers = await this.#keys.knowing(() =>
      inParts(keys, REWRAP_PART, (part) =>
        this.#lanes.any().call('rewrap', { to, rows: part.map(({ id, sealed }) => sealedBytes(id, sealed)) }, { alone: true, weight: 10 * part.length }),
      ),
    )
    const fields = unframe(answers)
    return keys.map((_, at) => {
      const [how, wrapped] = [REWRAPPED[fields[2 * at]?.[0] ?? -1], fields[2 * at + 1]]
      if (how === undefined || wrapped === undefined) throw new RangeError('the lane answered for other keys than it was asked for')
      return how === 'rewrapped' ? { how, wrapped } : { how }
    })
  }

  async checkCardMacs(permit: Permit, { master, type, items }: Parameters<Hsm['checkCardMacs']>[1]): Promise<boolean[]> {
    permit.assertAllows('derive', master.id)
    const args = {
      master: sealedBytes(master.id, master.sealed),
      type,
      items: frame(items.flatMap(({ kdd, message, mac }) => [assertKdd(kdd), message, mac])),
    }
    const answers = await this.#keys.knowing(() => this.#lanes.any().call('checkCardMacs', args, { weight: 2 * items.length }))
    return Array.from(answers, (answer) => answer === 1)
  }

  async milenageChallenge(permit: Permit, { ki, operatorKey, ...values }: Parameters<Hsm['milenageChallenge']>[1]): Promise<Uint8Array> {
    const call = { ...assertMilenage(permit, ki, operatorKey), ...values }
    return this.#keys.knowing(() => this.#lanes.of(ki.id).call('milenageChallenge', call, { weight: 4 }))
  }

  async milenageAnswer(permit: Permit, { ki, operatorKey, rand, answer }: Parameters<Hsm['milenageAnswer']>[1]): Promise<MilenageVerdict> {
    const [lane, call] = [this.#lanes.of(ki.id), { ...assertMilenage(permit, ki, operatorKey), rand }]
    return this.#keys.knowing<MilenageVerdict>(async () =>
      'res' in answer
        ? { kind: 'res', right: await lane.call('checkMilenageResponse', { ...call, res: answer.res }, { weight: 4 }) }
        : { kind: 'auts', sqn: await lane.call('resynchronise', { ...call, auts: answer.auts }, { weight: 4 }) },
    )
  }

  async fillCards(permit: Permit, request: Parameters<Hsm['fillCards']>[1]): Promise<FilledKey[][]> {
    const { master, operatorKey, transportKeyId, plan, kdds } = request
    permit.assertAllows('derive', master.id)
    permit.assertAllows('wrap', transportKeyId)
    permit.assertAllows('unwrap', operatorKey.id)
    assertPlan(plan)
    const args = {
      master: sealedBytes(master.id, master.sealed),
      operatorKey: sealedBytes(operatorKey.id, operatorKey.sealed),
      transportKeyId,
      plan,
      kdds: Buffer.concat(kdds.map(assertKdd)),
    }
    const filled = await this.#keys.knowing(() => this.#lanes.any().call('fillCards', args, { alone: true, weight: 15 * kdds.length }))
    return readCards(cardLayout(plan), filled, kdds.length)
  }
}

function assertMilenage(permit: Permit, ki: StoredKey, operatorKey: StoredKey): { readonly ki: SealedBytes; readonly operatorKey: SealedBytes } {
  permit.assertAllows('authenticate', ki.id)
  permit.assertAllows('unwrap', operatorKey.id)
  return { ki: sealedBytes(ki.id, ki.sealed), operatorKey: sealedBytes(operatorKey.id, operatorKey.sealed) }
}

function assertKdd(kdd: Uint8Array): Uint8Array {
  if (kdd.length !== 10) throw new RangeError('diversification data is EF.ICCID, 10 bytes')
  return kdd
}
