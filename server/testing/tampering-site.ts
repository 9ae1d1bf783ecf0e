import { copyFileSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import pino from 'pino'
import { exampleFiling } from '../../clients/admission.ts'
import { makeTlsRequest } from '../../clients/csr.ts'
import { Problem } from '../../core/problem.ts'
import { generationRow, generationsInUse } from '../../pkcs11/generation-record.ts'
import { PgRootKeyStore } from '../../pkcs11/root-key-store.pg.ts'
import { openCheckpoint, type LogKey } from '../../policies/audit/checkpoint.ts'
import { LogFault } from '../../policies/audit/log-fault.ts'
import { type AuditFeature, auditFeature } from '../../policies/audit/index.ts'
import { exportChunks } from '../../policies/audit/export/stream.ts'
import { lastSigned } from '../../policies/audit/operations/export.ts'
import { draftOf } from '../../policies/audit/testing/drafts.ts'
import { LogVerifier } from '../../policies/audit/verify.ts'
import { verifyExport } from '../../policies/audit/verify-export.ts'
import { type Caller, type CallerKind, systemCaller } from '../../policies/caller.ts'
import { perform } from '../../policies/gate.ts'
import { FreshRows } from '../../policies/integrity/fresh-rows.ts'
import { type Finding, type IntegrityReport, integrityFeature } from '../../policies/integrity/index.ts'
import { readConfig } from '../config.ts'
import type { TestDatabase } from '../postgres/test-run.ts'
import { assertSchema, schemaFindings } from '../schema/schema-comparison.ts'
import { inspectService, type OpenService, openService } from '../service.ts'
import { enrolSiteVendor, filled, orderCards } from './rotation-site.ts'

/** What a tampering was found by. */
export interface Detection {
  /** Why the service does not start, in a word: the code of a fault, or `schema`, `token`. */
  readonly start: string | undefined
  /** Codes of the integrity check. */
  readonly check: readonly string[]
  readonly report: IntegrityReport | undefined
  /** Codes of the verifier, with the public key and the checkpoint that an auditor took before. */
  readonly verifier: readonly string[]
}

/** What is tampered with. */
export interface Victim {
  /** The database as the tampering finds it, and the owner of its tables. */
  readonly db: TestDatabase
  /** Rows of the same database as it was some operations before. */
  earlier<Row extends object>(text: string, values?: readonly unknown[]): Promise<Row[]>
  /** Puts the earlier database in its place, whole. */
  rollBack(): Promise<void>
  /** Puts the checkpoint file of then in its place, or the head that the token had then. */
  rollBackFile(): void
  rollBackToken(): void
}

const ORIGIN = 'test/tampering'

/**
 * A service with one of everything in two states, an earlier and a later one, and a few entries that are not sequenced; copies of its database, one after another, are
 * tampered with and looked at. One token serves all.
 */
export class TamperingSite {
  readonly #folder: string
  readonly #service: OpenService
  readonly #db: TestDatabase
  readonly #sources: readonly [earlier: TestDatabase, later: TestDatabase]
  /** The checkpoint that the auditor took when the later state was reached. */
  readonly #known: string
  readonly #key: LogKey
  #inToken = ''

  private constructor(parts: {
    readonly folder: string
    readonly service: OpenService
    readonly db: TestDatabase
    readonly sources: readonly [TestDatabase, TestDatabase]
    readonly known: string
  }) {
    this.#folder = parts.folder
    this.#service = parts.service
    this.#db = parts.db
    this.#sources = parts.sources
    this.#known = parts.known
    this.#key = parts.service.audit.key
  }

  /** `makeDatabase`: an empty one. */
  static async open(makeDatabase: () => Promise<TestDatabase>): Promise<TamperingSite> {
    const folder = mkdtempSync(join(tmpdir(), 'gridseal-tampering-'))
    const [built, earlier, later, db] = [await makeDatabase(), await makeDatabase(), await makeDatabase(), await makeDatabase()]
    const configOf = ({ serviceUrl, ownerUrl }: TestDatabase) =>
      readConfig({
        GRIDSEAL_DATA: folder,
        GRIDSEAL_LANES: '1',
        GRIDSEAL_ORIGIN: ORIGIN,
        GRIDSEAL_TOKEN_HEAD_SECONDS: '0',
        DATABASE_URL: serviceUrl,
        DATABASE_OWNER_URL: ownerUrl,
      })
    const service = await openService(configOf(built), pino({ level: 'silent' }))
    const house = new House(service)
    await house.settle()
    await service.audit.flush()
    await earlier.restore(built.name)
    copyFileSync(join(folder, 'checkpoint'), join(folder, 'checkpoint.earlier'))
    await house.recover()
    await house.goOn()
    await service.audit.flush()
    const known = readFileSync(join(folder, 'checkpoint'), 'utf8')
    copyFileSync(join(folder, 'checkpoint'), join(folder, 'checkpoint.later'))
    await house.leaveUnsequenced()
    await later.restore(built.name)
    await service.close().catch(() => undefined)
    await built.close()
    await db.restore(later.name)
    return new TamperingSite({ folder, service: await inspectService(configOf(db), pino({ level: 'silent' })), db, sources: [earlier, later], known })
  }

  async close(): Promise<void> {
    await this.#service.close()
    for (const one of [this.#db, ...this.#sources]) await one.close()
    rmSync(this.#folder, { recursive: true, force: true })
  }

  /** The state of before, tampered with; then all that looks for it. */
  async detect(tamper: (victim: Victim) => Promise<void>): Promise<Detection> {
    const [earlier, later] = this.#sources
    await this.#db.restore(later.name)
    this.#putFile('later')
    this.#keepIn('later')
    await tamper({
      db: this.#db,
      earlier: (text, values) => earlier.ownerSql.query(text, values),
      rollBack: () => this.#db.restore(earlier.name),
      rollBackFile: () => this.#putFile('earlier'),
      rollBackToken: () => this.#keepIn('earlier'),
    })
    // The verifier gets what the database has before the service looks at it.
    const verifier = await this.#verify()
    const start = await this.#start()
    const report = await this.#check().catch((error: unknown) => {
      if (error instanceof Problem) return undefined
      throw error
    })
    return { start, check: [...new Set(report?.findings.map(({ code }) => code))].sort(), report, verifier }
  }

  /** What is found by looking at the rows that entries name, as the service does with new ones: by the first look, and by the second. */
  async follow(tamper: (victim: Pick<Victim, 'db' | 'earlier'>) => Promise<void>): Promise<readonly (readonly Finding[])[]> {
    const [earlier, later] = this.#sources
    await this.#db.restore(later.name)
    this.#putFile('later')
    this.#keepIn('later')
    const audit = this.#audit()
    try {
      await audit.flush()
      await tamper({ db: this.#db, earlier: (text, values) => earlier.ownerSql.query(text, values) })
      const { hsm, rotations } = this.#service
      const rows = new FreshRows({ reader: audit.reader, tables: rotations.sealedTables, reviewRows: (some) => hsm.integrity.reviewRows(some) }, 0)
      return [(await rows.look()).findings, (await rows.look()).findings]
    } finally {
      await audit.close()
    }
  }

  #putFile(state: 'earlier' | 'later'): void {
    copyFileSync(join(this.#folder, `checkpoint.${state}`), join(this.#folder, 'checkpoint'))
  }

  #keepIn(state: 'earlier' | 'later'): void {
    this.#inToken = readFileSync(join(this.#folder, `checkpoint.${state}`), 'utf8')
  }

  /** The one token does not keep the heads of all copies: it is as if it had that of the state. */
  #audit(): AuditFeature {
    return auditFeature({
      ...{ sql: this.#db.sql, connect: () => this.#db.database.connect(), integrity: this.#service.hsm.integrity },
      ...{ origin: ORIGIN, checkpointFile: join(this.#folder, 'checkpoint'), writers: 2 },
      tokenHead: { everyMs: 0, keeper: { keepHead: () => Promise.resolve(), readHeads: () => Promise.resolve([this.#inToken]) } },
    })
  }

  /** What a start looks at, in its order. */
  async #start(): Promise<string | undefined> {
    const { hsm } = this.#service
    const store = new PgRootKeyStore(this.#db.sql)
    const audit = this.#audit()
    try {
      await assertSchema(this.#db.sql, () => undefined)
    } catch {
      return 'schema'
    }
    try {
      await store.assertSameToken(hsm.identity)
      const generations = await store.generations()
      await hsm.integrity.assertRowsByToken(generations.map(({ record, mac }) => ({ row: generationRow(record), mac })))
      generationsInUse(
        generations.map(({ record }) => record),
        hsm.identity,
      )
    } catch {
      return 'token'
    }
    try {
      await audit.flush()
      return undefined
    } catch (error) {
      if (error instanceof LogFault) return error.code
      throw error
    } finally {
      await audit.close()
    }
  }

  async #check(): Promise<IntegrityReport> {
    const { hsm, rotations, cards } = this.#service
    const audit = this.#audit()
    try {
      const feature = integrityFeature({
        ...{ sql: this.#db.sql, audit, everyHours: 0, now: () => new Date(), schema: () => schemaFindings(this.#db.sql) },
        tables: () => rotations.sealedTables,
        dependents: () => cards.dependentRows,
        reviewRows: (rows) => hsm.integrity.reviewRows(rows),
        checkGroups: (groups) => hsm.integrity.checkGroups(groups),
      })
      return await feature.check()
    } finally {
      await audit.close()
    }
  }

  async #verify(): Promise<string[]> {
    const audit = this.#audit()
    const verifier = new LogVerifier(this.#key, { known: [openCheckpoint(this.#known, this.#key)] })
    try {
      const signed = await lastSigned({ reader: audit.reader, key: this.#key, replaced: [] })
      const report = await verifyExport(verifier, exportChunks({ reader: audit.reader, key: this.#key, from: 0, to: signed?.checkpoint.size ?? 0 }))
      return [...new Set(report.findings.map(({ code }) => code))].sort()
    } catch (error) {
      return [error instanceof Problem ? 'no-export' : error instanceof Error && error.name === 'NoteError' ? 'checkpoint-invalid' : String(error)]
    } finally {
      await audit.close()
    }
  }
}

/** Everybody who does something, on a service whose policy allows all. */
class House {
  readonly failures: string[] = []
  readonly #service: OpenService
  readonly #ids = new Map<string, string>()
  #vendor: Awaited<ReturnType<typeof enrolSiteVendor>> | undefined
  #orderId = ''
  #iccid = ''
  #challengeId = ''
  #serial = ''
  #grantId = ''
  #waiting = ''

  constructor(service: OpenService) {
    this.#service = service
    Object.assign(service.gate, { decide: () => ({ effect: 'allow', rule: 'test', revision: 'test', reason: '' }) })
  }

  /** One of everything. */
  async settle(): Promise<void> {
    const { officers } = (await perform(this.#service.gate, this.#service.callers.enrolFirstOfficers, {
      caller: systemCaller('init'),
      body: { names: ['alice', 'bob'] },
    })) as { officers: { callerId: string; name: string }[] }
    for (const { callerId, name } of officers) this.#ids.set(name, callerId)
    for (const [kind, name] of [
      ['module', 'billing'],
      ['module', 'traffic'],
      ['vendor', 'acme'],
      ['auditor', 'ann'],
      ['business', 'chen'],
    ] as const) {
      const { callerId } = await this.call<{ callerId: string }>(this.#who('officer', 'alice'), 'policies.caller.register', { kind, name })
      this.#ids.set(name, callerId)
    }
    for (const label of ['one', 'two', 'three']) await this.call(this.#who('module', 'billing'), 'kms.key.generate', { label, algorithm: 'hmac-sha256' })
    const { csr } = await makeTlsRequest('billing')
    this.#serial = (
      await this.call<{ serial: string }>(this.#who('officer', 'alice'), 'kms.certificate.issue', { callerId: this.#ids.get('billing'), csr })
    ).serial
    await this.#byTwo('policies.admission.file', { callerId: this.#ids.get('billing'), ...exampleFiling('billing') })
    const until = new Date(Date.now() + 3_600_000).toISOString()
    const grant = { reason: 'a test', callers: ['urn:gridseal:module:billing'], operations: ['kms.key.attest'], until }
    this.#grantId = String((await this.#byTwo('policies.grant.issue', grant))['grantId'])
    this.#waiting = await this.#hold('policies.grant.issue', { ...grant, reason: 'another test' })
    this.#vendor = await enrolSiteVendor(this)
    this.#orderId = await orderCards(this, this.#vendor, 20)
    this.#service.cards.fillJob.start()
    await filled(this, this.#orderId)
    const cards = await this.#service.database.sql.query<{ iccid: string }>('SELECT iccid FROM cards ORDER BY position')
    this.#iccid = cards[0]?.iccid ?? ''
    this.#challengeId = (await this.#challenge()).challengeId
    await this.#challenge()
    await this.call(systemCaller('crl'), 'kms.crl.issue', { authority: 'callers' })
    await this.#fillLog(400)
  }

  /** After a copy was made, which cuts all connections. */
  async recover(): Promise<void> {
    for (let tries = 0; ; tries += 1) {
      try {
        await this.#service.audit.log.append(draftOf('outcome'))
        await this.#service.audit.flush()
        await this.#service.database.sql.query('SELECT 1')
        return
      } catch (error) {
        if (tries > 50) throw error
        await new Promise((resolve) => setTimeout(resolve, 100))
      }
    }
  }

  /** What changes rows that are there, and makes more. */
  async goOn(): Promise<void> {
    const [alice, billing] = [this.#who('officer', 'alice'), this.#who('module', 'billing')]
    await this.call(alice, 'policies.caller.revoke', { callerId: this.#ids.get('traffic') })
    await this.call(alice, 'kms.certificate.revoke', { serial: this.#serial, reason: 'keyCompromise' })
    await this.call(alice, 'policies.grant.revoke', { grantId: this.#grantId, reason: 'over' })
    await this.call(alice, 'policies.hold.withdraw', { holdId: this.#waiting })
    await this.call(billing, 'attestation.card.answer', { iccid: this.#iccid, challengeId: this.#challengeId, res: 'AAAAAAAAAAA' })
    await this.#challenge()
    await this.call(alice, 'policies.admission.suspend', { callerId: this.#ids.get('billing'), reason: 'a test' })
    for await (const _ of (
      await this.call<{ chunks: AsyncIterable<Uint8Array> }>(this.#who('vendor', 'acme'), 'card-personalization.delivery.fetch', { orderId: this.#orderId })
    ).chunks)
      void _
    await this.call(systemCaller('crl'), 'kms.crl.issue', { authority: 'callers' })
    await this.call(billing, 'kms.key.generate', { label: 'four', algorithm: 'hmac-sha256' })
    await this.#fillLog(200)
  }

  /** As after a kill -9: committed, and not in the tree. The last is a durable operation. */
  async leaveUnsequenced(): Promise<void> {
    await this.#service.cards.fillJob.stop()
    for (let at = 0; at < 4; at += 1) await this.#service.audit.log.append(draftOf('outcome'))
    await this.call(this.#who('officer', 'alice'), 'policies.caller.register', { kind: 'module', name: 'last' })
  }

  async call<Output = Record<string, unknown>>(caller: Caller, name: string, body: object): Promise<Output> {
    const op = this.#service.operations.find((one) => one.name === name)
    if (op === undefined) throw new Error(`no operation is named ${name}`)
    // Officers of rotation-site.ts have ids of their own.
    const who = this.#ids.has(caller.name) && caller.kind !== 'system' ? this.#who(caller.kind, caller.name) : caller
    return (await perform(this.#service.gate, op, { caller: who, body })) as Output
  }

  #who(kind: CallerKind, name: string): Caller {
    const id = this.#ids.get(name) ?? name
    return { kind, name, id, certificate: '00', address: '127.0.0.1', ...(kind === 'officer' ? { person: { id: `person-${name}`, name } } : {}) }
  }

  /** So that there are full tiles. */
  async #fillLog(entries: number): Promise<void> {
    for (let at = 0; at < entries; at += 10) await Promise.all(Array.from({ length: 10 }, () => this.#service.audit.log.append(draftOf('outcome'))))
  }

  #challenge(): Promise<{ challengeId: string }> {
    return this.call(this.#who('module', 'billing'), 'attestation.card.challenge', { iccid: this.#iccid, method: 'milenage' })
  }

  /** Answers the id of the hold. */
  async #hold(name: string, body: object): Promise<string> {
    const problem = await this.call(this.#who('officer', 'alice'), name, body).catch((error: unknown) => error)
    const id = problem instanceof Problem && problem.code === 'held' ? /kept as ([0-9a-f-]+)/.exec(problem.detail)?.[1] : undefined
    if (id === undefined) throw problem
    return id
  }

  async #byTwo(name: string, body: object): Promise<Record<string, unknown>> {
    const holdId = await this.#hold(name, body)
    const { digest } = await this.call(this.#who('officer', 'bob'), 'policies.hold.get', { holdId })
    await this.call(this.#who('officer', 'bob'), 'policies.hold.approve', { holdId, digest })
    return this.call(this.#who('officer', 'alice'), 'policies.hold.run', { holdId })
  }
}
