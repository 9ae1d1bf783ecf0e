import { createHash } from 'node:crypto'
import { frame, unframe, utf8 } from '../core/bytes.ts'
import { Problem } from '../core/problem.ts'
import { encodeRow, type Row, type RowSealer, type SealedRow } from '../core/row.ts'
import { inParts } from './in-parts.ts'
import type { Lanes } from './lanes.ts'
import { SYSTEM_KEYS, type TokenIdentity } from './root-keys.ts'
import type { RootKeysInUse } from './root-keys-in-use.ts'

/**
 * What the system itself does with its keys, and nothing else: no method takes a key id, and their keys serve nothing else.
 * They are counted in metrics and not logged singly.
 */
export interface Integrity extends RowSealer {
  /** AES-CMAC by the group-MAC key, 16 bytes. */
  macGroup(message: Uint8Array): Promise<Uint8Array>
  /** Of which generation the MAC of each row is; looked for once more where it is of none, since another process may know a newer one. */
  reviewRows(rows: readonly SealedRow[]): Promise<SealedBy[]>
  reviewGroups(groups: readonly { readonly message: Uint8Array; readonly mac: Uint8Array }[]): Promise<SealedBy[]>
  /** AES-CMAC by the group-MAC key, 16 bytes each. */
  macGroups(messages: readonly Uint8Array[]): Promise<Uint8Array[]>
  /**
   * As `assertRows`, by any row-MAC key that is in the token, in use or not: for the rows that tell which are in use, which another process may have sealed by one
   * that this process has yet to hear of.
   */
  assertRowsByToken(rows: readonly SealedRow[]): Promise<void>
  /** Whether each MAC is the group-MAC key's over its message. */
  checkGroups(groups: readonly { readonly message: Uint8Array; readonly mac: Uint8Array }[]): Promise<boolean[]>
  /** The checkpoint key's signature over a note's text: raw Ed25519 (64 bytes), or where the token has none ECDSA P-256 SHA-256 as DER. */
  signCheckpoint(text: Uint8Array): Promise<Uint8Array>
  readonly checkpointKey: { readonly algorithm: 'ed25519' | 'ecdsa-p256'; readonly publicKey: Uint8Array /* SPKI DER */ }
  /**
   * Keeps the log's last checkpoint in the token, as a data object, in place of older ones of its origin; one over more entries stays. Slow, and it wears the flash
   * of an HSM: for once a minute. Throws the token's refusal where it keeps no data objects.
   */
  keepHead(origin: string, note: string): Promise<void>
  /** The checkpoints that the token keeps of an origin: none, one, or what a crash left. */
  readHeads(origin: string): Promise<string[]>
  /** AES-CMAC by the blind-index key over `name || 00 || value`, 16 bytes: equality search without the value. */
  blindIndex(values: readonly { readonly name: string; readonly value: string }[]): Promise<Uint8Array[]>
}

/** `older`: right, by a generation that is not current any more. `nobody`: it is not what the service wrote. */
export type SealedBy = 'current' | 'older' | 'nobody'
const SEALED_BY: readonly SealedBy[] = ['nobody', 'current', 'older']

const MAC = 16
const split = (bytes: Uint8Array): Uint8Array[] => Array.from({ length: bytes.length / MAC }, (_, at) => bytes.subarray(at * MAC, (at + 1) * MAC))

const notWritten = ({ row }: SealedRow): Problem =>
  new Problem('integrity-failed', `The stored row ${row.id} of ${row.table} is not what the service wrote. It was not used.`)

/** Rows, groups or values of one call: some 5 ms of a lane. */
const PART = 500

/** {@link Integrity} through lanes. `calls` counts what was asked of each key. */
export class LaneIntegrity implements Integrity {
  readonly #lanes: Lanes
  readonly #keys: RootKeysInUse
  readonly checkpointKey: Integrity['checkpointKey']
  readonly calls = { rows: 0, groups: 0, checkpoints: 0, blindIndexes: 0 }

  constructor(lanes: Lanes, keys: RootKeysInUse, identity: TokenIdentity) {
    this.#lanes = lanes
    this.#keys = keys
    const key = identity.keys.find(({ keyId }) => keyId === SYSTEM_KEYS.checkpoint)
    if (key === undefined || !('publicKey' in key)) throw new Error('the token has no checkpoint key')
    this.checkpointKey = { algorithm: key.algorithm === 'ed25519' ? 'ed25519' : 'ecdsa-p256', publicKey: key.publicKey }
  }

  async macRows(rows: readonly Row[]): Promise<Uint8Array[]> {
    this.calls.rows += rows.length
    this.#keys.assertFenced()
    const macs = await inParts(rows, PART, (part) => this.#lanes.any().call('macRows', { rows: frame(part.map(encodeRow)) }, { weight: part.length / 2 }))
    return split(macs)
  }

  async assertRows(rows: readonly SealedRow[]): Promise<void> {
    const sealed = await this.reviewRows(rows)
    const wrong = rows.find((_, at) => sealed[at] === 'nobody')
    if (wrong !== undefined) throw notWritten(wrong)
  }

  reviewRows(rows: readonly SealedRow[]): Promise<SealedBy[]> {
    this.calls.rows += rows.length
    const pairs = (part: readonly SealedRow[]): Uint8Array => frame(part.flatMap(({ row, mac }) => [encodeRow(row), mac]))
    return this.#review(rows, (part) => this.#lanes.any().call('checkRows', { pairs: pairs(part) }, { weight: part.length / 2 }))
  }

  reviewGroups(groups: readonly { readonly message: Uint8Array; readonly mac: Uint8Array }[]): Promise<SealedBy[]> {
    this.calls.groups += groups.length
    const pairs = (part: typeof groups): Uint8Array => frame(part.flatMap(({ message, mac }) => [message, mac]))
    return this.#review(groups, (part) => this.#lanes.any().call('checkGroups', { pairs: pairs(part) }, { weight: part.length / 2 }))
  }

  #review<Item>(items: readonly Item[], check: (part: readonly Item[]) => Promise<Uint8Array>): Promise<SealedBy[]> {
    return this.#keys.knowing(
      async () => Array.from(await inParts(items, PART, check), (answer) => SEALED_BY[answer] ?? 'nobody'),
      (sealed) => sealed.includes('nobody'),
    )
  }

  async assertRowsByToken(rows: readonly SealedRow[]): Promise<void> {
    if (rows.length === 0) return
    this.calls.rows += rows.length
    const pairs = frame(rows.flatMap(({ row, mac }) => [encodeRow(row), mac]))
    const answers = await this.#lanes.any().call('checkRowsByToken', { pairs }, { weight: rows.length })
    const wrong = rows.find((_, at) => answers[at] !== 1)
    if (wrong !== undefined) throw notWritten(wrong)
  }

  async macGroup(message: Uint8Array): Promise<Uint8Array> {
    this.calls.groups++
    this.#keys.assertFenced()
    return this.#lanes.any().call('macGroups', { messages: frame([message]) })
  }

  async macGroups(messages: readonly Uint8Array[]): Promise<Uint8Array[]> {
    this.calls.groups += messages.length
    this.#keys.assertFenced()
    return split(await inParts(messages, PART, (part) => this.#lanes.any().call('macGroups', { messages: frame(part) }, { weight: part.length / 2 })))
  }

  async checkGroups(groups: readonly { readonly message: Uint8Array; readonly mac: Uint8Array }[]): Promise<boolean[]> {
    return (await this.reviewGroups(groups)).map((by) => by !== 'nobody')
  }

  async signCheckpoint(text: Uint8Array): Promise<Uint8Array> {
    this.calls.checkpoints++
    if (this.checkpointKey.algorithm === 'ed25519') return this.#lanes.any().call('signCheckpoint', { message: text })
    const digest = createHash('sha256').update(text).digest()
    return derSignature(await this.#lanes.any().call('signCheckpoint', { message: digest }))
  }

  keepHead(origin: string, note: string): Promise<void> {
    return this.#lanes.any().call('keepHead', { origin, note: utf8(note) })
  }

  async readHeads(origin: string): Promise<string[]> {
    return unframe(await this.#lanes.any().call('readHeads', { origin })).map((note) => Buffer.from(note).toString('utf8'))
  }

  async blindIndex(values: readonly { readonly name: string; readonly value: string }[]): Promise<Uint8Array[]> {
    this.calls.blindIndexes += values.length
    const messages = values.map(({ name, value }) => {
      if (name.includes('\0')) throw new RangeError('the name of a blind index has no zero byte')
      return `${name}\0${value}`
    })
    const indexes = await inParts(messages, PART, (part) => this.#lanes.any().call('blindIndex', { values: frame(part) }, { weight: part.length / 2 }))
    return split(indexes)
  }
}

/** DER of an ECDSA signature from raw r||s of 64 bytes. */
function derSignature(raw: Uint8Array): Buffer {
  const integer = (bytes: Uint8Array): Buffer => {
    const first = bytes.findIndex((byte) => byte !== 0)
    const short = bytes.subarray(first < 0 ? bytes.length - 1 : first)
    const value = (short[0] ?? 0) >= 0x80 ? Buffer.concat([Buffer.from([0]), short]) : short
    return Buffer.concat([Buffer.from([0x02, value.length]), value])
  }
  const body = Buffer.concat([integer(raw.subarray(0, 32)), integer(raw.subarray(32))])
  return Buffer.concat([Buffer.from([0x30, body.length]), body])
}
