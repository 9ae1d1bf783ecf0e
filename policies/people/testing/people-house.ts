import { createHmac } from 'node:crypto'
import { Problem } from '../../../core/problem.ts'
import { type TestDatabase, testDatabase } from '../../../server/postgres/test-database.ts'
import type { EntryDraft } from '../../audit/log.ts'
import { anonymousCaller, type Caller, type RegisteredKind } from '../../caller.ts'
import { callerFeature } from '../../callers/index.ts'
import { type Gate, perform } from '../../gate.ts'
import { DatabaseLog } from '../../testing/database-log.ts'
import { testSealer } from '../../testing/row-sealer.ts'
import type { HashCost } from '../credentials.ts'
import { peopleFeature, type PeopleDeps, type PeopleFeature } from '../index.ts'
import { LoginThrottle, THROTTLE, type ThrottleSettings } from '../login-throttle.ts'
import { codeOf, stepAt } from '../totp.ts'
import { type SoftwareSecrets, softwareSecrets } from './software-secrets.ts'

/** Of tests whose matter is not the cost. */
export const CHEAP: HashCost = { memoryKib: 64, passes: 1, lanes: 1 }
/** Nothing ever waits. */
const UNTHROTTLED: ThrottleSettings = { ...THROTTLE, freeFailures: 1e9, nameBurst: 1e9, addressBurst: 1e9 }

/** Somebody with password and one-time codes. */
export interface Enrolled {
  readonly personId: string
  readonly name: string
  readonly password: string
  readonly callerId: string
  readonly recoveryCodes: readonly string[]
  /** The code of a moment. */
  code(at?: Date): string
}

type Answer = Record<string, unknown>
type Given = Partial<PeopleDeps> & { readonly throttled?: boolean }

/** The feature over a real database, with secrets in software and a clock that stands. */
export class PeopleHouse {
  readonly db: TestDatabase
  readonly callers: ReturnType<typeof callerFeature>
  readonly feature: PeopleFeature
  readonly secrets: SoftwareSecrets
  readonly failures: unknown[] = []
  /** Milliseconds of both clocks. */
  nowMs = Date.parse('2026-11-26T08:00:00Z')
  readonly officer: Caller = { kind: 'officer', name: 'alice', id: '00000000-0000-7000-8000-000000000001', person: { id: 'p-alice', name: 'alice' } }
  readonly #gate: Gate
  readonly #log: DatabaseLog
  readonly #given: Given

  private constructor(db: TestDatabase, { throttled = false, ...given }: Given) {
    this.db = db
    this.#given = { throttled, ...given }
    this.#log = new DatabaseLog(db)
    this.#gate = { decide: () => ({ effect: 'allow', rule: 'test', revision: 'test', reason: '' }), log: this.#log }
    const now = (): Date => new Date(this.nowMs)
    this.callers = callerFeature({ sql: db.sql, sealer: testSealer, now })
    this.secrets = (given.secrets as SoftwareSecrets | undefined) ?? softwareSecrets(testSealer)
    this.feature = peopleFeature({
      ...{ sql: db.sql, sealer: testSealer, gate: this.#gate, callers: this.callers.callers, persons: this.callers.persons, secrets: this.secrets, now },
      ...{ hashCost: CHEAP, throttle: new LoginThrottle({ settings: throttled ? THROTTLE : UNTHROTTLED, nowMs: () => this.nowMs }) },
      onFailure: (failure) => void this.failures.push(failure),
      ...given,
    })
  }

  static async open(given: Given = {}): Promise<PeopleHouse> {
    return new PeopleHouse(await testDatabase(), given)
  }

  get entries(): readonly EntryDraft[] {
    return this.#log.entries
  }

  /** The same service after a restart, with other settings: over the same database, with the same keys. */
  restarted(given: Given): PeopleHouse {
    return new PeopleHouse(this.db, { ...this.#given, secrets: this.secrets, ...given })
  }

  close(): Promise<void> {
    return this.db.close()
  }

  ask<Output = Answer>(name: string, body: object, caller: Caller = this.officer): Promise<Output> {
    const op = [...this.callers.operations, ...this.feature.operations].find((candidate) => candidate.name === `policies.${name}`)
    if (op === undefined) throw new Error(`no operation ${name}`)
    return perform(this.#gate, op, { caller, body }) as Promise<Output>
  }

  /** The problem that a call ends in. */
  async refused(name: string, body: object, caller?: Caller): Promise<Problem> {
    try {
      await this.ask(name, body, caller)
    } catch (error) {
      if (error instanceof Problem) return error
      throw error
    }
    throw new Error(`${name} was not refused`)
  }

  nobody(address = '10.1.0.1'): Caller {
    return anonymousCaller({ address, listener: 'tls' })
  }

  async register(kind: RegisteredKind, name: string, person?: string): Promise<{ readonly callerId: string; readonly personId: string }> {
    return this.ask('caller.register', { kind, name, ...(person === undefined ? {} : { person }) })
  }

  async enrol(
    name: string,
    { kind = 'business', password = 'tower gravel anise 9' }: { readonly kind?: 'business' | 'auditor'; readonly password?: string } = {},
  ): Promise<Enrolled> {
    const { callerId, personId } = await this.register(kind, name)
    return { callerId, ...(await this.enrolAgain({ personId, name, password })) }
  }

  /** With a new ticket. */
  async enrolAgain({ personId, name, password }: Pick<Enrolled, 'personId' | 'name' | 'password'>): Promise<Omit<Enrolled, 'callerId'>> {
    const { ticket } = await this.ask<{ ticket: string }>('person.issue-ticket', { personId })
    await this.ask('password.set', { ticket, password }, this.nobody())
    const { secret } = await this.ask<{ secret: string }>('totp.enrol', { ticket }, this.nobody())
    const code = (at = new Date(this.nowMs)): string => totpOf(secret, at)
    const { recoveryCodes } = await this.ask<{ recoveryCodes: string[] }>('totp.confirm', { ticket, code: code() }, this.nobody())
    this.nowMs += 30_000
    return { personId, name, password, recoveryCodes, code }
  }

  login<Output = { token: string; sessionId: string; device?: string; recoveryCodesLeft: number }>(
    who: Enrolled,
    extra: object = {},
    caller = this.nobody(),
  ): Promise<Output> {
    return this.ask<Output>('session.open', { name: who.name, password: who.password, code: who.code(), ...extra }, caller)
  }

  loginRefused(who: Pick<Enrolled, 'name' | 'password'> & { readonly code?: () => string }, extra: object = {}, caller = this.nobody()): Promise<Problem> {
    return this.refused('session.open', { name: who.name, password: who.password, code: who.code?.() ?? '000000', ...extra }, caller)
  }

  /** They, acting for themselves by a session. */
  self(who: Pick<Enrolled, 'personId' | 'name'>, session?: string): Caller {
    return {
      kind: 'person',
      name: who.name,
      id: who.personId,
      person: { id: who.personId, name: who.name },
      address: '10.1.0.1',
      ...(session === undefined ? {} : { session }),
    }
  }
}

/** The code of an authenticator: an implementation of its own (RFC 6238), from the secret in base32. */
export function totpOf(secret: string, at: Date): string {
  const bits = [...secret].map((sign) => 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567'.indexOf(sign).toString(2).padStart(5, '0')).join('')
  const key = Buffer.from((bits.match(/.{8}/g) ?? []).map((byte) => Number.parseInt(byte, 2)))
  const counter = Buffer.alloc(8)
  counter.writeBigUInt64BE(BigInt(stepAt(at)))
  return codeOf(createHmac('sha1', key).update(counter).digest())
}
