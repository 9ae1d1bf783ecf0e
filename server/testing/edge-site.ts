import { request } from 'node:https'
import { connect, type ConnectionOptions, type TLSSocket } from 'node:tls'
import { setTimeout as sleep } from 'node:timers/promises'
import { expect } from 'vitest'
import type { Participant, Service } from '../../clients/site.ts'
import { enrolVendor, type Vendor } from '../../clients/vendor.ts'
import { PROBLEMS, type ProblemCode } from '../../core/problem.ts'
import { CrashSite } from './crash-site.ts'
import { eventually } from './processes.ts'

/** Who calls: nobody, where a certificate is missing. */
export type Who = Partial<Pick<Participant, 'certificate' | 'key'>>

export interface Reply {
  readonly status: number
  /** By lower-case name. */
  readonly headers: Readonly<Record<string, string>>
  readonly text: string
}

/** A request exactly as told; nothing is added but content-length. */
export interface Wanted {
  readonly method?: string
  readonly path: string
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: string | Buffer
  /** The address that it comes from, one of 127.0.0.0/8. Default 127.0.0.1. */
  readonly from?: string
}

export interface Told {
  readonly code: ProblemCode
  readonly detail: string
  readonly operationId: string
  readonly faults: readonly { readonly message: string; readonly pointer?: string; readonly line?: number }[]
}

export const JSON_TYPE = { 'content-type': 'application/json' }
const UUID = '[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}'

/** What every failure looks like, whatever failed; answers what it says. */
export function problemOf(reply: Reply): Told {
  expect(reply.headers['content-type'], reply.text).toBe('application/problem+json')
  const { type, title, status, detail, instance, faults, ...rest } = JSON.parse(reply.text) as Record<string, string>
  const code = String(type).replace('/problems/', '') as ProblemCode
  expect({ title, status, rest }).toEqual({ ...PROBLEMS[code], rest: {} })
  expect(reply.status).toBe(status)
  expect(detail).toMatch(/^\S.{10,}[.:)}0-9a-z]$/s)
  expect(detail).not.toMatch(/undefined|\[object|\bat .+:\d+:\d+|node_modules|SELECT|INSERT/)
  expect(instance).toMatch(new RegExp(`^urn:uuid:${UUID}$`))
  expect(reply.headers['cache-control']).toBe('no-store')
  return { code, detail: String(detail), operationId: String(instance).replace('urn:uuid:', ''), faults: (faults ?? []) as unknown as Told['faults'] }
}

/** A service with everybody who calls it, seen from the network and through the database owner's eyes. */
export class EdgeSite {
  readonly crash: CrashSite
  /** A second vendor, with a transport key of its own. */
  readonly other: Vendor
  /** A second module. */
  readonly otherModule: Participant

  private constructor(crash: CrashSite, other: Vendor, otherModule: Participant) {
    this.crash = crash
    this.other = other
    this.otherModule = otherModule
  }

  /** `env`: settings of every start. */
  static async open(env: Readonly<Record<string, string>> = {}): Promise<EdgeSite> {
    const crash = await CrashSite.open(env)
    const other = await enrolVendor({ site: { service: crash.service, trust: crash.trust, officers: crash.officers }, name: 'other-cards' })
    return new EdgeSite(crash, other, await crash.enrol('module', 'traffic'))
  }

  get service(): Service {
    return this.crash.service
  }
  get alice(): Participant {
    return this.crash.alice
  }
  get vendor(): Vendor {
    return this.crash.vendor
  }
  get module(): Participant {
    return this.crash.module
  }
  get auditor(): Participant {
    return this.crash.auditor
  }

  close(): Promise<void> {
    return this.crash.close()
  }

  tlsOptions({ certificate, key }: Who = {}): ConnectionOptions {
    const { hostname, port } = new URL(this.service.url)
    return {
      host: hostname,
      port: Number(port),
      ca: this.crash.trust,
      ...(certificate === undefined ? {} : { cert: certificate }),
      ...(key === undefined ? {} : { key }),
    }
  }

  /** One request on a connection of its own. Rejects when no whole answer came within `timeoutMs`. */
  ask(who: Who, { method = 'GET', path, headers = {}, body, from }: Wanted, timeoutMs = 15_000): Promise<Reply> {
    return new Promise((resolve, reject) => {
      const length = body === undefined ? {} : { 'content-length': String(Buffer.byteLength(body)) }
      const timer = setTimeout(() => sent.destroy(new Error(`no answer within ${String(timeoutMs)} ms: ${method} ${path}`)), timeoutMs)
      const sent = request(
        { ...this.tlsOptions(who), ...(from === undefined ? {} : { localAddress: from }), agent: false, method, path, headers: { ...length, ...headers } },
        (response) => {
          const chunks: Buffer[] = []
          response.on('data', (chunk: Buffer) => chunks.push(chunk))
          response.on('error', reject)
          response.on('close', () => {
            clearTimeout(timer)
            if (!response.complete) return reject(new Error('the answer ended early'))
            const fields = Object.fromEntries(Object.entries(response.headers).map(([name, value]) => [name, String(value)]))
            return resolve({ status: response.statusCode ?? 0, headers: fields, text: Buffer.concat(chunks).toString('utf8') })
          })
        },
      )
      sent.on('error', (error) => {
        clearTimeout(timer)
        reject(error)
      })
      sent.end(body)
    })
  }

  post(who: Who, path: string, body: unknown): Promise<Reply> {
    return this.ask(who, { method: 'POST', path, headers: JSON_TYPE, body: JSON.stringify(body) })
  }

  /** Bytes as they are, piece by piece. Answers what came back until the service closed the connection, or until `untilMs`. */
  async exchange(
    who: Who,
    pieces: readonly (string | Buffer)[],
    { untilMs = 5000, pauseMs = 0 }: { readonly untilMs?: number; readonly pauseMs?: number } = {},
  ): Promise<Exchanged> {
    const began = performance.now()
    const socket = await this.connect(who)
    let bytes = ''
    let isClosed = false
    socket.on('data', (chunk: Buffer) => (bytes += chunk.toString('latin1')))
    socket.on('error', () => undefined)
    const closed = new Promise<void>((resolve) => socket.once('close', () => resolve())).then(() => (isClosed = true))
    const writing = (async () => {
      for (const piece of pieces) {
        if (isClosed) return
        if (!socket.write(piece)) await Promise.race([closed, new Promise((resolve) => socket.once('drain', resolve))])
        if (pauseMs > 0) await sleep(pauseMs)
      }
    })()
    await Promise.race([closed, sleep(untilMs)])
    const wasClosed = isClosed
    socket.destroy()
    await writing
    return { replies: parseReplies(bytes), isClosed: wasClosed, tookMs: performance.now() - began }
  }

  connect(who: Who, options: ConnectionOptions = {}): Promise<TLSSocket> {
    return new Promise((resolve, reject) => {
      const socket = connect({ ...this.tlsOptions(who), ...options }, () => resolve(socket))
      socket.once('error', reject)
    })
  }

  /** The entries of an operation, as an auditor finds them. */
  async entriesOf(operationId: string): Promise<readonly Record<string, unknown>[]> {
    return eventually(`entries of ${operationId}`, async () => {
      const reply = await this.ask(this.auditor, { path: `/v1/policies/audit/operations/${operationId}` })
      return reply.status === 404 ? undefined : (JSON.parse(reply.text) as { entries: { entry: Record<string, unknown> }[] }).entries.map(({ entry }) => entry)
    })
  }

  /** Every table: how many rows, and a digest of all of them. */
  async tables(): Promise<ReadonlyMap<string, string>> {
    const owner = await this.crash.owner()
    try {
      const { rows: names } = await owner.query<{ name: string }>(
        `SELECT relname AS name FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r' ORDER BY 1`,
      )
      const counts = names.map(
        ({ name }) =>
          `SELECT '${name}' AS name, count(*)::text AS rows, md5(coalesce(string_agg(md5(t::text), '' ORDER BY md5(t::text)), '')) AS digest FROM ${name} t`,
      )
      const { rows } = await owner.query<{ name: string; rows: string; digest: string }>(counts.join(' UNION ALL '))
      return new Map(rows.map(({ name, rows: count, digest }) => [name, isLog(name) ? count : `${count} ${digest}`]))
    } finally {
      await owner.end()
    }
  }

  /** Does the work, and sees that no row of any table came, went or changed: only the log may have grown. */
  async changesNothing<Result>(work: () => Promise<Result>): Promise<Result> {
    const before = await this.tables()
    const result = await work()
    expectUnchanged(before, await this.tables())
    return result
  }
}

/** What nodes tell each other, and people, by themselves; it decides nothing that lasts. */
const UPKEEP: ReadonlySet<string> = new Set([
  'policy_nodes',
  'rule_hits',
  'rate_demands',
  'login_budgets',
  'person_wrong_codes',
  'alarms',
  'integrity_passes',
  'integrity_findings',
])

function expectUnchanged(before: ReadonlyMap<string, string>, after: ReadonlyMap<string, string>): void {
  const kept = (tables: ReadonlyMap<string, string>): Record<string, string> =>
    Object.fromEntries([...tables].filter(([name]) => !isLog(name) && !UPKEEP.has(name)))
  expect(kept(after)).toEqual(kept(before))
  // Partial tiles are replaced by whole ones.
  for (const [name, rows] of before)
    if (isLog(name) && name !== 'audit_partial_tiles') expect(Number(after.get(name)), name).toBeGreaterThanOrEqual(Number(rows))
}

function expectRefusal(entries: readonly Record<string, unknown>[], refusal: object): void {
  expect(entries).toHaveLength(1)
  expect(entries[0]).toMatchObject(refusal)
}

/** Refusals that the log is to hold. They are looked up together at the end, since an entry is to be read within a second or so. */
export class ExpectedRefusals {
  readonly #expected: { readonly told: Told; readonly entry: object }[] = []

  /** `entry`: what it is to say besides the code. */
  add(told: Told, entry: object): void {
    this.#expected.push({ told, entry })
  }

  /** Answers how many there were. */
  async check(site: EdgeSite): Promise<number> {
    for (const { told, entry } of this.#expected) {
      expectRefusal(await site.entriesOf(told.operationId), { kind: 'refusal', code: told.code, ...entry })
    }
    return this.#expected.length
  }
}

export interface Exchanged {
  readonly replies: readonly Reply[]
  /** Whether the service closed the connection. */
  readonly isClosed: boolean
  readonly tookMs: number
}

const isLog = (table: string): boolean => table.startsWith('audit_')

/** Answers side by side, each with its content-length. */
function parseReplies(bytes: string): Reply[] {
  const replies: Reply[] = []
  for (let rest = bytes; rest.length > 0; ) {
    const end = rest.indexOf('\r\n\r\n')
    const [first = '', ...lines] = rest.slice(0, end === -1 ? undefined : end).split('\r\n')
    const status = Number(/^HTTP\/1\.1 (\d{3})/.exec(first)?.[1] ?? 0)
    const headers = Object.fromEntries(lines.map((line) => [line.slice(0, line.indexOf(':')).toLowerCase(), line.slice(line.indexOf(':') + 1).trim()]))
    if (end === -1) return [...replies, { status, headers, text: '' }]
    const length = Number(headers['content-length'] ?? 0)
    const body = rest.slice(end + 4, end + 4 + length)
    if (status !== 100) replies.push({ status, headers, text: Buffer.from(body, 'latin1').toString('utf8') })
    rest = rest.slice(end + 4 + length)
  }
  return replies
}
