import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import pg from 'pg'
import { luhnDigit } from '../../core/iccid.ts'
import { ApiClient } from '../../clients/api.ts'
import { verifyExportedLog } from '../../clients/audit-verify.ts'
import { enrol, enrolFirstOfficers, type Participant, type Service, type SiteSettings, startService } from '../../clients/site.ts'
import { type DeliveryReport, openDelivery, type OpenedCard, type TransportKeyPackage } from '../../clients/vendor-open.ts'
import { enrolVendor, type Vendor } from '../../clients/vendor.ts'
import { type Entry, parseEntry } from '../../policies/audit/entry.ts'
import { parseExportLine } from '../../policies/audit/export.ts'
import type { LogReport } from '../../policies/audit/verify.ts'
import { ROLES } from '../postgres/cluster.ts'
import { startEmbeddedPostgres } from '../postgres/launcher.ts'
import { serverPid } from '../postgres/postmaster-file.ts'
import { socketFolder } from '../postgres/socket.ts'
import { fastFolder } from '../postgres/test-server.ts'
import { agentOf, ask } from './ask.ts'
import { descendantsOf, eventually, killNow, lanesOf } from './processes.ts'

const CARDS = '/v1/card-personalization'

/** What a caller sees when the service dies before it answers. */
export const NO_ANSWER = /ECONNRESET|ECONNREFUSED|socket hang up|ended early|aborted/

export interface SeriesOrder {
  readonly purchaseOrder: string
  readonly profile: string
  readonly transportKeyId: string
  readonly start: { readonly iccid: string; readonly imsi: string }
  readonly quantity: number
}

/** A whole exported log, verified offline, with its entries read. */
export interface VerifiedLog {
  readonly report: LogReport
  readonly entries: readonly Entry[]
}

/** A service in a data folder of its own that is killed and started again, with everybody who calls it. */
export class CrashSite {
  readonly folder = mkdtempSync(join(fastFolder(), 'gridseal-crash-'))
  readonly data = join(this.folder, 'data')
  /** What the service said, in all its lives. */
  readonly said: string[] = []
  /** The root that callers trust, PEM. */
  trust = ''
  /** C2SP verifier key of the log, as it was told at first. */
  vkey = ''
  /** Those that signed before it, the oldest first. */
  replaced: string[] = []
  readonly #env: Readonly<Record<string, string>>
  #service: Service | undefined
  #officers: readonly Participant[] = []
  #vendor: Vendor | undefined
  #module: Participant | undefined
  #auditor: Participant | undefined
  #orders = 0
  /** The last checkpoint that the auditor took home. Every later log must still contain it. */
  #known: string[] = []

  /** `env`: settings of every start. */
  constructor(env: Readonly<Record<string, string>> = {}) {
    this.#env = env
  }

  /** Started for the first time: two officers, a vendor with a transport key, a module, an auditor. */
  static async open(env: Readonly<Record<string, string>> = {}): Promise<CrashSite> {
    const site = new CrashSite(env)
    try {
      await site.start()
      await site.enrolEverybody()
      return site
    } catch (error) {
      await site.close()
      throw error
    }
  }

  get service(): Service {
    return present(this.#service)
  }
  get officers(): readonly Participant[] {
    return this.#officers
  }
  get alice(): Participant {
    return present(this.#officers[0])
  }
  get bob(): Participant {
    return present(this.#officers[1])
  }
  get vendor(): Vendor {
    return present(this.#vendor)
  }
  get module(): Participant {
    return present(this.#module)
  }
  get auditor(): Participant {
    return present(this.#auditor)
  }
  get lanes(): number[] {
    return lanesOf(this.service.pid)
  }

  /** The settings of a start, for programs beside the service. */
  settings(env: Readonly<Record<string, string>> = {}): SiteSettings {
    return { data: this.data, env: { ...this.#env, ...env }, onLog: (line) => void this.said.push(line) }
  }

  /** Answers how long it took, in ms. Everybody's client is at the new addresses then. */
  async start(env: Readonly<Record<string, string>> = {}): Promise<number> {
    const began = performance.now()
    this.#service = await startService(this.settings(env))
    this.#officers = this.#officers.map((officer) => this.#reconnected(officer))
    this.#vendor &&= this.#reconnected(this.#vendor)
    this.#module &&= this.#reconnected(this.#module)
    this.#auditor &&= this.#reconnected(this.#auditor)
    return performance.now() - began
  }

  async enrolEverybody(): Promise<void> {
    const { officers, trust } = await enrolFirstOfficers(this.service, this.settings(), join(this.folder, 'people'), ['alice', 'bob'])
    this.#officers = officers
    this.trust = trust
    this.#vendor = await enrolVendor({ site: { service: this.service, trust, officers }, name: 'acme-cards' })
    this.#module = await this.enrol('module', 'billing')
    this.#auditor = await this.enrol('auditor', 'ann')
    this.vkey = (await (await fetch(`${this.service.plainUrl}/audit/key`)).text()).trim()
  }

  /** A caller like those that are there, enrolled by an officer. */
  enrol(kind: 'module' | 'auditor' | 'business', name: string): Promise<Participant> {
    const approver = present(this.officers[1])
    return enrol(this.alice, { url: this.service.url, trust: this.trust }, kind === 'module' ? { kind, name, approver } : { kind, name })
  }

  /** What `gridseal` is told of where the service is, and of the officer who asks, by their number. */
  officerOptions(officer: number): string[] {
    const [certificate, key, trust] = [`officer-${String(officer)}.pem`, `officer-${String(officer)}.key.pem`, 'root.pem'].map((name) =>
      join(this.folder, name),
    ) as [string, string, string]
    writeFileSync(certificate, present(this.officers[officer]).certificate)
    writeFileSync(key, present(this.officers[officer]).key)
    writeFileSync(trust, this.trust)
    return ['--url', this.service.url, '--certificate', certificate, '--key', key, '--trust', trust]
  }

  /** kill -9 of the service alone. */
  kill(): Promise<void> {
    return this.service.kill()
  }

  /** kill -9 of the service and its lanes, of the database too when asked. */
  async killAll({ database }: { readonly database: boolean }): Promise<void> {
    const server = database ? serverPid(this.#cluster) : undefined
    const pids = [this.service.pid, ...this.lanes, ...(server === undefined ? [] : [server, ...descendantsOf(server)])]
    const ended = this.ended()
    killNow(pids)
    await ended
  }

  /** kill -9 of the database's server and all its processes; the service lives. */
  killDatabase(): void {
    const server = present(serverPid(this.#cluster))
    killNow([server, ...descendantsOf(server)])
  }

  /** Until the service has ended. */
  async ended(timeoutMs = 30_000): Promise<void> {
    const { process } = this.service
    if (process.exitCode !== null || process.signalCode !== null) return
    await once(process, 'exit', { signal: AbortSignal.timeout(timeoutMs) })
  }

  /** Stops what still runs, and removes the folder. */
  async close(): Promise<void> {
    await this.#service?.stop()
    const server = serverPid(this.#cluster)
    if (server !== undefined) killNow([server, ...descendantsOf(server)])
    rmSync(this.folder, { recursive: true, force: true })
  }

  /** A connection of the database's owner. The caller ends it. */
  owner(): Promise<pg.Client> {
    return this.#login('owner')
  }

  /** One of the embedded server's administrator, who may do anything. The caller ends it. */
  admin(): Promise<pg.Client> {
    return this.#login('admin')
  }

  async #login(role: 'owner' | 'admin'): Promise<pg.Client> {
    const socket = socketFolder(this.#cluster)
    const client = new pg.Client({
      host: socket.path,
      user: ROLES[role],
      password: readFileSync(join(this.data, 'postgres', `${role}.password`), 'utf8').trim(),
      database: 'gridseal',
    })
    client.on('end', () => socket.release())
    client.on('error', () => undefined)
    await client.connect()
    return client
  }

  /** What the database's owner does while the service is stopped: its server runs for that alone. */
  async betweenRuns<Result>(work: (owner: pg.Client) => Promise<Result>): Promise<Result> {
    await this.service.stop()
    const server = await startEmbeddedPostgres({ folder: join(this.data, 'postgres') })
    const owner = await this.owner()
    try {
      return await work(owner)
    } finally {
      await owner.end()
      await server.stop()
    }
  }

  /** An order of cards that no other order has. */
  newOrder(quantity: number): SeriesOrder {
    this.#orders += 1
    const body = `8986001${String(this.#orders).padStart(5, '0')}0000000`
    const imsi = `46001${String(this.#orders).padStart(5, '0')}00000`
    return {
      purchaseOrder: `PO-${String(this.#orders)}`,
      profile: 'grid-usim-1',
      transportKeyId: this.vendor.transportKeyId,
      start: { iccid: body + luhnDigit(body), imsi },
      quantity,
    }
  }

  /** Answers the order's id. */
  async submit(order: SeriesOrder): Promise<string> {
    return (await this.vendor.client.post<{ orderId: string }>(`${CARDS}/orders`, order)).orderId
  }

  approve(orderId: string): Promise<unknown> {
    return this.alice.client.post(`${CARDS}/orders/${orderId}/approve`)
  }

  /** Fetches a delivery and opens it as the vendor does. */
  async open(orderId: string): Promise<{ readonly report: DeliveryReport; readonly cards: readonly OpenedCard[] }> {
    const cards: OpenedCard[] = []
    const file = await this.vendor.client.download(`${CARDS}/orders/${orderId}/delivery`)
    const transportKey = await this.vendor.client.get<TransportKeyPackage>(`${CARDS}/transport-keys/${this.vendor.transportKeyId}`)
    const report = await openDelivery({
      file: [file],
      transportKey,
      privateKey: this.vendor.encryptionKey,
      trustedRoot: this.trust,
      order: orderId,
      onCard: (card) => void cards.push(card),
    })
    return { report, cards }
  }

  /** The log with everything that was acknowledged until now, exported and verified with the key and the checkpoint from before. */
  async log(): Promise<VerifiedLog> {
    const { url } = this.service
    const agent = agentOf({ url, trust: this.trust, certificate: this.auditor.certificate, key: this.auditor.key })
    const mark = await ask(agent, { url: `${url}/v1/policies/audit/checkpoint` })
    agent.destroy()
    return eventually('an export with everything acknowledged', async () => {
      const file = await this.auditor.client.download('/v1/policies/audit/export')
      const lines = file.toString('utf8').trimEnd().split('\n').map(parseExportLine)
      const entries = lines.flatMap((line) => (line?.kind === 'entry' ? [parseEntry(line.bytes)] : []))
      if (!entries.some(({ id }) => id === mark.operationId)) return undefined
      const path = join(this.folder, 'log.ndjson')
      writeFileSync(path, file)
      const report = await verifyExportedLog({ path, vkey: this.vkey, replaced: this.replaced, known: this.#known })
      const last = lines.findLast((line) => line?.kind === 'checkpoint')
      if (last?.kind === 'checkpoint') this.#known = [last.note]
      return { report, entries }
    })
  }

  get #cluster(): string {
    return join(this.data, 'postgres', 'cluster')
  }

  #reconnected<Who extends Participant>(who: Who): Who {
    who.client.close()
    return { ...who, client: new ApiClient({ url: this.service.url, trust: this.trust, certificate: who.certificate, key: who.key }) }
  }
}

function present<Value>(value: Value | undefined): Value {
  if (value === undefined) throw new Error('the site is not open')
  return value
}
