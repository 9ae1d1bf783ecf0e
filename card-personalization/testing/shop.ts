import type { Faults, FaultPoint } from '../../core/fault-point.ts'
import { Problem, type ProblemCode } from '../../core/problem.ts'
import type { Sql } from '../../core/tx.ts'
import { ROOT_KEYS } from '../../pkcs11/index.ts'
import { type TestToken, testToken } from '../../pkcs11/testing/test-token.ts'
import type { AuditLog, EntryDraft, LogTx } from '../../policies/audit/log.ts'
import type { Caller, CallerKind } from '../../policies/caller.ts'
import { type Gate, perform } from '../../policies/gate.ts'
import type { Download } from '../../policies/operation.ts'
import { sameName } from '../../policies/testing/same-name.ts'
import { type TestDatabase, testDatabase } from '../../server/postgres/test-database.ts'
import { type CardPersonalizationDeps, type CardPersonalizationFeature, cardPersonalizationFeature } from '../index.ts'
import type { CardCertifier } from '../operations/deps.ts'
import { makeDeliveryChain, makeEncryptionPair, softCertifier } from './certificates.ts'

/** A process of the service, as far as cards go. It can die: then nothing of it reaches the database or the log any more. */
export class Shop {
  readonly feature: CardPersonalizationFeature
  readonly entries: EntryDraft[] = []
  readonly failures: { readonly problem: Problem; readonly orderId: string | undefined }[] = []
  readonly #gate: Gate
  #dead = false

  constructor(place: Place, options: Partial<CardPersonalizationDeps> & { readonly dieAt?: { readonly point: FaultPoint; readonly hit: number } } = {}) {
    const { dieAt, ...deps } = options
    let hits = 0
    const faults: Faults = (point) => {
      if (point !== dieAt?.point || ++hits !== dieAt.hit) return
      this.#dead = true
      throw new Error(`killed at ${point}`)
    }
    const log: AuditLog = {
      transact: async (work) => {
        const group: EntryDraft[] = []
        const result = await place.db.transact(async (tx) => {
          this.#assertAlive()
          const worked = await work({ tx, append: (entry) => void group.push(entry) } satisfies LogTx)
          this.#assertAlive()
          return worked
        })
        this.entries.push(...group)
        return result
      },
      giveUp: () => undefined,
      append: async (entry) => {
        this.#assertAlive()
        this.entries.push(entry)
      },
    }
    const sql: Sql = {
      query: (text, values) => {
        this.#assertAlive()
        return place.db.sql.query(text, values)
      },
    }
    this.#gate = { decide: () => ({ effect: 'allow', rule: 'test', revision: 'test', reason: '' }), log, faults }
    this.feature = cardPersonalizationFeature({
      ...{ hsm: place.token.hsm, sealer: place.token.integrity, sql, gate: this.#gate, faults, lanes: 2, pollMs: 50, retryMs: 5 },
      deliveryChain: () => Promise.resolve(place.chain),
      certifier: place.certifier,
      samePerson: sameName,
      onFillFailure: (problem, orderId) => void this.failures.push({ problem, orderId }),
      ...deps,
    })
  }

  get isDead(): boolean {
    return this.#dead
  }

  call<Output = Record<string, unknown>>(caller: Caller, name: string, body: object): Promise<Output> {
    const op = this.feature.operations.find((candidate) => candidate.name === `card-personalization.${name}`)
    if (op === undefined) throw new Error(`no operation is named ${name}`)
    return perform(this.#gate, op, { caller, body }) as Promise<Output>
  }

  /** The problem that a call ends in. */
  async refused(caller: Caller, name: string, body: object): Promise<Problem & { readonly code: ProblemCode }> {
    try {
      await this.call(caller, name, body)
    } catch (error) {
      if (error instanceof Problem) return error
      throw error
    }
    throw new Error(`${name} was not refused`)
  }

  async fetch(caller: Caller, orderId: string): Promise<Buffer> {
    const chunks: Uint8Array[] = []
    for await (const chunk of (await this.call<Download>(caller, 'delivery.fetch', { orderId })).chunks) chunks.push(chunk)
    return Buffer.concat(chunks)
  }

  /** Waits until the order is in a state, or halted. */
  async settled(orderId: string, { timeoutMs = 20_000 } = {}): Promise<OrderAnswer> {
    for (const end = Date.now() + timeoutMs; ; ) {
      const order = await this.call<OrderAnswer>(officers[0], 'order.get', { orderId })
      if (order.state === 'ready' || order.state === 'delivered' || order.halted !== undefined) return order
      if (Date.now() > end) throw new Error(`the order stays ${order.state} with ${order.filled} cards: ${this.failures.at(-1)?.problem.message}`)
      await new Promise((resolve) => setTimeout(resolve, 20))
    }
  }

  /** Whether the process died within the time. */
  async died({ timeoutMs = 20_000 } = {}): Promise<void> {
    for (const end = Date.now() + timeoutMs; !this.#dead; ) {
      if (Date.now() > end) throw new Error('it did not die')
      await new Promise((resolve) => setTimeout(resolve, 5))
    }
  }

  #assertAlive(): void {
    if (this.#dead) throw new Error('the process is dead')
  }
}

export interface OrderAnswer {
  readonly orderId: string
  readonly state: string
  readonly quantity: number
  readonly filled: number
  readonly halted?: { readonly code: string; readonly detail: string }
  readonly delivery?: { readonly sha256: string; readonly fetches: number }
}

/** What outlives a process: the token and the database, and the vendors with what only they have. */
export interface Place {
  readonly token: TestToken
  readonly db: TestDatabase
  readonly chain: readonly Uint8Array[]
  readonly certifier: CardCertifier
  readonly root: Uint8Array
  close(): Promise<void>
}

export async function openPlace(): Promise<Place> {
  const [token, db] = await Promise.all([testToken({ lanes: 2 }), testDatabase()])
  const close = async (): Promise<void> => void (await Promise.allSettled([token.close(), db.close()]))
  const { root, chain, rootPair } = makeDeliveryChain(token.hsm.rootPublicKey(ROOT_KEYS.delivery))
  return { token, db, root, chain, certifier: softCertifier(rootPair), close }
}

export const person = (kind: CallerKind, name: string): Caller => ({ kind, name, id: `id-of-${kind}-${name}`, certificate: '00', address: '127.0.0.1' })
export const officers = [person('officer', 'alice'), person('officer', 'bob')] as const

export interface TestVendor {
  readonly caller: Caller
  readonly vendorId: string
  readonly transportKeyId: string
  readonly privateKey: string
}

/** A vendor that may order: registered, confirmed by both officers, with a transport key. */
export async function enrolVendor(shop: Shop, name: string): Promise<TestVendor> {
  const { privateKey, pem } = makeEncryptionPair()
  const { vendorId, fingerprint } = await shop.call<{ vendorId: string; fingerprint: string }>(officers[0], 'vendor.register', {
    ...{ name, callerName: name, encryptionCertificate: pem },
  })
  for (const officer of officers) await shop.call(officer, 'vendor.confirm', { vendorId, fingerprint })
  const { transportKeyId } = await shop.call<{ transportKeyId: string }>(officers[0], 'transport-key.make', { vendorId })
  return { caller: person('vendor', name), vendorId, transportKeyId, privateKey }
}

const TABLES = [
  'vendors',
  'transport_keys',
  'row_mac_keys',
  'card_masters',
  'operator_keys',
  'card_profiles',
  'orders',
  'order_chunks',
  'order_halts',
  'iccids',
  'cards',
  'deliveries',
]

/** How many rows each table has. */
export async function countTables({ ownerSql }: TestDatabase): Promise<Readonly<Record<string, number>>> {
  const counts: Record<string, number> = {}
  for (const table of TABLES) counts[table] = Number((await ownerSql.query<{ count: string }>(`SELECT count(*) FROM ${table}`))[0]?.count)
  return counts
}
