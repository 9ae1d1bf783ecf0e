import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Client } from 'pg'
import { attestationFeature } from '../../attestation/index.ts'
import { type CardPersonalizationFeature, cardPersonalizationFeature } from '../../card-personalization/index.ts'
import { makeEncryptionPair } from '../../card-personalization/testing/certificates.ts'
import type { FaultPoint, Faults } from '../../core/fault-point.ts'
import { luhnDigit } from '../../core/iccid.ts'
import { keyId } from '../../core/ids.ts'
import { rememberRows } from '../../core/row-memory.ts'
import type { Sql } from '../../core/tx.ts'
import { type KmsFeature, kmsFeature } from '../../kms/index.ts'
import { type Generations, openGenerations, type RootKeyFeature, rootKeyFeature, type RotationTimes } from '../../kms/root-keys/index.ts'
import { certificatePem } from '../../kms/certificates/issuing.ts'
import type { RotationView } from '../../kms/root-keys/operations/views.ts'
import { forkCeremony } from '../../pkcs11/ceremony/run-ceremony.ts'
import { existingToken } from '../../pkcs11/chosen-token.ts'
import { findSoftHsm, TokenFolder } from '../../pkcs11/token-folder.ts'
import { openHsm, type OpenHsm, type OpenOptions } from '../../pkcs11/index.ts'
import { PgRootKeyStore } from '../../pkcs11/root-key-store.pg.ts'
import type { SealedBy } from '../../pkcs11/integrity.ts'
import { groupTable } from '../../policies/audit/group-table.pg.ts'
import { type AuditFeature, auditFeature } from '../../policies/audit/index.ts'
import { type Caller, systemCaller } from '../../policies/caller.ts'
import { callerFeature } from '../../policies/callers/index.ts'
import { type Gate, perform } from '../../policies/gate.ts'
import { credentialTables } from '../../policies/people/credential-store.pg.ts'
import { sessionTables } from '../../policies/people/session-store.pg.ts'
import type { AnyOperation, Download } from '../../policies/operation.ts'
import { withTestPermit } from '../../policies/testing/memory-gate.ts'
import { testDatabase, type TestDatabase } from '../postgres/test-database.ts'

const person = (kind: 'officer' | 'module' | 'vendor', name: string): Caller => ({ kind, name, id: `id-of-${name}`, certificate: '00', address: '127.0.0.1' })
export const [alice, bob, billing, acme] = [person('officer', 'alice'), person('officer', 'bob'), person('module', 'billing'), person('vendor', 'acme')]

/** Everything at once, so that a test does not wait. */
const FAST: RotationTimes = { followMs: 20, pollMs: 20, waitMs: 5, graceMs: 0, refusedMs: 100, retryMs: 5 }

/** What outlives a process: token and database. */
export interface RotationPlace {
  readonly folder: string
  readonly db: TestDatabase
  close(): Promise<void>
}

export async function openRotationPlace(): Promise<RotationPlace> {
  const folder = mkdtempSync(join(tmpdir(), 'gridseal-rotation-'))
  const db = await testDatabase()
  return {
    folder,
    db,
    close: async () => {
      await db.close()
      rmSync(folder, { recursive: true, force: true })
    },
  }
}

export interface NodeOptions extends Partial<Omit<OpenOptions, 'dataFolder'>> {
  readonly times?: RotationTimes
  /** Where it dies, and at the how many-th time that it comes there; with the operation that passes a point of the gate. */
  readonly dieAt?: { readonly point: FaultPoint; readonly operation?: string; readonly time?: number }
}

/** A process of the service without listeners, that anybody may ask anything. It can die: then nothing of it reaches the database any more. */
export class RotationNode {
  readonly hsm: OpenHsm
  readonly kms: KmsFeature
  readonly cards: CardPersonalizationFeature
  readonly rotations: RootKeyFeature
  readonly generations: Generations
  readonly audit: AuditFeature
  readonly failures: string[]
  readonly #gate: Gate
  readonly #operations: readonly AnyOperation[]
  readonly #life: Life

  private constructor(
    parts: Omit<RotationNode, 'call' | 'refused' | 'isDead' | 'die' | 'close' | 'start' | 'download'> & {
      gate: Gate
      operations: readonly AnyOperation[]
      life: Life
    },
  ) {
    ;({ hsm: this.hsm, kms: this.kms, cards: this.cards, rotations: this.rotations, generations: this.generations } = parts)
    ;({ audit: this.audit, failures: this.failures } = parts)
    this.#gate = parts.gate
    this.#operations = parts.operations
    this.#life = parts.life
  }

  static async open({ folder, db }: RotationPlace, { times = FAST, dieAt, ...options }: NodeOptions = {}): Promise<RotationNode> {
    const life = new Life(dieAt)
    const failures: string[] = []
    const connect = (): Promise<Client> => life.connect(() => db.database.connect())
    const sql: Sql = {
      query: async (text, values) => {
        life.assertAlive()
        const rows = await db.sql.query<never>(text, values)
        life.assertAlive()
        return rows
      },
    }
    const hsm = await openHsm({ lanes: 1, ...options, dataFolder: folder })
    await new PgRootKeyStore(sql).assertSameToken(hsm.identity)
    const keepers: { forgetRows(): void }[] = []
    const onError = (error: unknown): void => void failures.push(String(error))
    const generations = await openGenerations({ hsm, sql, connect, times, onError, onChange: () => keepers.forEach((one) => one.forgetRows()) })
    generations.follower.start()
    const audit = auditFeature({ sql, connect, integrity: hsm.integrity, origin: 'test/log', checkpointFile: join(folder, 'checkpoint'), onError })
    const { faults } = life
    const gate: Gate = {
      decide: () => ({ effect: 'allow', rule: 'test', revision: 'test', reason: '' }),
      ...{ log: audit.log, faults, onBegin: () => generations.inProgress.begin() },
    }
    const sealer = rememberRows(hsm.integrity)
    keepers.push(sealer)
    const shared = { hsm: hsm.hsm, sealer, sql, now: () => new Date() }
    const callers = callerFeature(shared)
    const kms = kmsFeature({ ...shared, gate, token: hsm.identity, callers: callers.callers })
    const cards = cardPersonalizationFeature({
      ...{
        ...shared,
        gate,
        faults,
        lanes: 1,
        certifier: kms.cardCertificates,
        samePerson: callers.samePerson,
        deliveryChain: () => kms.certificates.serviceChain('delivery'),
      },
      onFillFailure: ({ code, detail }) => void failures.push(`fill: ${code} ${detail}`),
      pollMs: 20,
      retryMs: 5,
    })
    const attestation = attestationFeature({
      ...{ ...shared, gate, samePerson: callers.samePerson, build: 'test' },
      cards: { find: (iccid) => cards.findKeys(iccid), findStanding: (iccid) => cards.findStanding(iccid), decoyParts: () => cards.profileKeys('grid-usim-1') },
      cardRows: hsm.integrity,
    })
    keepers.push(cards, attestation)
    const rotations = rootKeyFeature({
      ...{ hsm, sql, gate, generations, groups: audit.groups, samePerson: callers.samePerson, faults, times, leads: () => true },
      tables: () => [
        ...[...callers.sealedTables, ...sessionTables(sql), ...credentialTables(sql)],
        ...[...kms.sealedTables, ...cards.sealedTables, ...attestation.sealedTables],
      ],
      onFailure: ({ code, detail, cause }) => void failures.push(`rotation: ${code} ${detail} ${String(cause)}`),
    })
    const operations = [
      ...[...audit.operations, ...callers.operations, ...kms.operations, ...Object.values(kms.systemOperations)],
      ...[...cards.operations, ...attestation.operations, ...rotations.operations],
    ]
    const node = new RotationNode({ hsm, kms, cards, rotations, generations, audit, failures, gate, operations, life })
    if (!(await kms.certificates.isEstablished())) await node.call(systemCaller('start'), 'kms.authority.establish', {})
    if ((await kms.certificates.findService('delivery')) === undefined)
      await node.call(systemCaller('start'), 'kms.service-certificate.issue', { purpose: 'delivery' })
    await cards.establishProfiles()
    await attestation.establish()
    return node
  }

  /** Its jobs, and the sequencer of the log. */
  async start(): Promise<void> {
    await this.audit.start()
    this.rotations.rotationJob.start()
    this.cards.fillJob.start()
  }

  get isDead(): boolean {
    return this.#life.isOver
  }

  call<Output = Record<string, unknown>>(caller: Caller, name: string, body: object): Promise<Output> {
    const op = this.#operations.find((candidate) => candidate.name === name)
    if (op === undefined) throw new Error(`no operation is named ${name}`)
    return perform(this.#gate, op, { caller, body }) as Promise<Output>
  }

  async download(caller: Caller, name: string, body: object): Promise<Buffer> {
    const chunks: Uint8Array[] = []
    for await (const chunk of (await this.call<Download>(caller, name, body)).chunks) chunks.push(chunk)
    return Buffer.concat(chunks)
  }

  /** As kill -9: connections break, and nothing is written any more. Its lanes end. */
  async die(): Promise<void> {
    this.#life.end()
    await this.close()
  }

  async close(): Promise<void> {
    await Promise.all([this.rotations.rotationJob.stop(), this.cards.fillJob.stop()])
    await this.audit.close().catch(() => undefined)
    await this.generations.follower.close()
    await this.hsm.close()
  }
}

/** Whether a process lives, and what ends with it. */
class Life {
  readonly #clients = new Set<Client>()
  readonly #dieAt: NodeOptions['dieAt']
  #passed = 0
  isOver = false

  constructor(dieAt: NodeOptions['dieAt']) {
    this.#dieAt = dieAt
  }

  readonly faults: Faults = (point, operation) => {
    const at = this.#dieAt
    if (at === undefined || at.point !== point || (at.operation !== undefined && at.operation !== operation) || ++this.#passed !== (at.time ?? 1)) return
    this.end()
    throw new Error(`killed at ${point}`)
  }

  assertAlive(): void {
    if (this.isOver) throw new Error('the process is dead')
  }

  async connect(open: () => Promise<Client>): Promise<Client> {
    this.assertAlive()
    const client = await open()
    this.#clients.add(client)
    return client
  }

  end(): void {
    this.isOver = true
    for (const client of this.#clients) (client as unknown as { readonly connection: { readonly stream: { destroy(): void } } }).connection.stream.destroy()
  }
}

/** Asks as one officer, approves as the other. Answers the rotation's id. */
export async function rotate(node: RotationNode, key: string): Promise<string> {
  const { rotationId } = await node.call<RotationView>(alice, 'kms.root-key.request-rotation', { key, reason: 'a test' })
  await node.call(bob, 'kms.root-key.approve-rotation', { rotationId })
  return rotationId
}

/** The rotation once it is in the state. */
export async function settled(node: RotationNode, rotationId: string, { state = 'retired', timeoutMs = 30_000 } = {}): Promise<RotationView> {
  for (const end = Date.now() + timeoutMs; ; ) {
    const view = await node.call<RotationView>(alice, 'kms.root-key.get-rotation', { rotationId })
    if (view.state === state) return view
    if (Date.now() > end) throw new Error(`the rotation stays ${JSON.stringify(view)}: ${node.failures.slice(-5).join(' | ')}`)
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
}

export interface SiteVendor {
  readonly vendorId: string
  readonly transportKeyId: string
  readonly privateKey: string
}

export async function enrolSiteVendor(node: Pick<RotationNode, 'call'>): Promise<SiteVendor> {
  const { privateKey, pem } = makeEncryptionPair()
  const { vendorId, fingerprint } = await node.call<{ vendorId: string; fingerprint: string }>(alice, 'card-personalization.vendor.register', {
    ...{ name: 'acme', callerName: 'acme', encryptionCertificate: pem },
  })
  for (const officer of [alice, bob]) await node.call(officer, 'card-personalization.vendor.confirm', { vendorId, fingerprint })
  const { transportKeyId } = await node.call<{ transportKeyId: string }>(alice, 'card-personalization.transport-key.make', { vendorId })
  return { vendorId, transportKeyId, privateKey }
}

let series = 0
/** An order of cards that no other order has, approved. */
export async function orderCards(node: Pick<RotationNode, 'call'>, { transportKeyId }: SiteVendor, quantity: number): Promise<string> {
  const body = `898600440${String(series).padStart(4, '0')}00000`
  const start = { iccid: body + luhnDigit(body), imsi: String(460_004_400_000_000 + 100_000 * series++) }
  const { orderId } = await node.call<{ orderId: string }>(acme, 'card-personalization.order.submit', {
    profile: 'grid-usim-1',
    transportKeyId,
    start,
    quantity,
  })
  await node.call(alice, 'card-personalization.order.approve', { orderId })
  return orderId
}

export async function filled(node: Pick<RotationNode, 'call' | 'failures'>, orderId: string, timeoutMs = 30_000): Promise<void> {
  for (const end = Date.now() + timeoutMs; ; ) {
    const order = await node.call<{ state: string; halted?: object }>(alice, 'card-personalization.order.get', { orderId })
    if (order.state === 'ready' || order.state === 'delivered') return
    if (order.halted !== undefined || Date.now() > end) throw new Error(`the order is ${JSON.stringify(order)}: ${node.failures.slice(-3).join(' | ')}`)
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
}

/** How many rows, keys and groups of the log are of which generation: all of them, opened and checked. */
export async function generationsOf(node: RotationNode, { db }: RotationPlace): Promise<Readonly<Partial<Record<SealedBy | 'refused' | 'rewrapped', number>>>> {
  const counts: Partial<Record<SealedBy | 'refused' | 'rewrapped', number>> = {}
  const count = (how: SealedBy | 'refused' | 'rewrapped'): void => void (counts[how] = (counts[how] ?? 0) + 1)
  const { hsm, integrity } = node.hsm
  const [from, to] = [keyId('root:none'), hsm.currentGeneration('storage-kek')]
  for (const table of node.rotations.sealedTables) {
    for (let after: string | undefined; ; ) {
      const page = await table.page(after, 500)
      ;(await integrity.reviewRows(page)).forEach(count)
      const keys = page
        .filter(({ row }) => table.holdsKeys && row.columns['wrapped'] instanceof Uint8Array)
        .map((sealed) => ({ id: keyId(sealed.row.id), sealed }))
      const uses = [
        { action: 'unwrap', keyId: from },
        { action: 'wrap', keyId: to },
      ] as const
      for (const { how } of await withTestPermit(uses, (permit) => hsm.rewrap(permit, { from, to, keys }))) count(how)
      after = page.at(-1)?.key
      if (after === undefined) break
    }
  }
  const groups = groupTable(db.sql)
  for (let after: string | undefined; ; ) {
    const page = await groups.page(after, 500)
    ;(await integrity.reviewGroups(page)).forEach(count)
    after = page.at(-1)?.key
    if (after === undefined) break
  }
  return counts
}

/** The labels of our keys in the token. */
export async function labelsOf({ folder }: RotationPlace): Promise<readonly string[]> {
  const { environment, token } = existingToken({ dataFolder: folder })
  return (await forkCeremony(environment, 'showToken', token)).labels
}

/** The root that deliveries chain to, PEM. */
export async function rootOf(node: RotationNode): Promise<string> {
  const [, root] = await node.kms.certificates.serviceChain('delivery')
  return certificatePem(root ?? new Uint8Array())
}

/** The token of the place by a URI, which names no officer's PIN. */
export function uriOf({ folder }: RotationPlace): string {
  const { configuration, pinFile, readState } = tokenFolder(folder)
  process.env['SOFTHSM2_CONF'] = configuration
  return `pkcs11:serial=${readState()}?module-path=${findSoftHsm()}&pin-source=file:${pinFile}`
}

const tokenFolder = (data: string): { configuration: string; pinFile: string; readState(): string } => {
  const folder = new TokenFolder(data)
  const { configuration, pinFile } = folder
  const readState = (): string => {
    const state = folder.readState()
    return state?.state === 'ready' ? state.serial : ''
  }
  return { configuration, pinFile, readState }
}

export type { RotationView }
