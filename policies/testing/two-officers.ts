import { Problem } from '../../core/problem.ts'
import type { Sql } from '../../core/tx.ts'
import { type TestDatabase, testDatabase } from '../../server/postgres/test-database.ts'
import type { Caller, RegisteredKind } from '../caller.ts'
import { callerFeature } from '../callers/index.ts'
import { type Gate, perform } from '../gate.ts'
import { holdFeature } from '../holds/index.ts'
import type { AnyOperation } from '../operation.ts'
import { DatabaseLog } from './database-log.ts'
import { testSealer } from './row-sealer.ts'
import { softwareParking } from './software-parking.ts'

const officer = (name: string): Caller => ({ kind: 'officer', name, id: `id-${name}`, person: { id: `person-${name}`, name } })
export const [alice, bob] = [officer('alice'), officer('bob')]

type Answer = Record<string, unknown>

interface Parts {
  readonly sql: Sql
  readonly sealer: typeof testSealer
  readonly now: () => Date
  readonly callers: ReturnType<typeof callerFeature>['callers']
}

/** The problem that a work ends in. Throws where it does not, and what is no problem. */
export async function problemOf(work: Promise<unknown>): Promise<Problem> {
  try {
    await work
  } catch (error) {
    if (error instanceof Problem) return error
    throw error
  }
  throw new Error('it was not refused')
}

/** Features over a real database with two officers, whom the policy allows everything. What operations hold is held. */
export class TwoOfficers {
  readonly db: TestDatabase
  readonly log: DatabaseLog
  /** The clock, which stands. */
  clock = new Date('2026-11-26T08:00:00Z')
  #operations: readonly AnyOperation[] = []
  readonly #gate: Gate
  #registered = 0

  private constructor(db: TestDatabase, make: (parts: Parts) => readonly AnyOperation[]) {
    this.db = db
    this.log = new DatabaseLog(db)
    const shared = { sql: db.sql, sealer: testSealer, now: () => this.clock }
    this.#gate = {
      ...{ log: this.log, decide: () => ({ effect: 'allow', rule: 'test', revision: 'test', reason: '' }) },
      holds: { park: (request) => holds.desk.park(request), take: (id, request) => holds.desk.take(id, request) },
    }
    const callers = callerFeature(shared)
    const holds = holdFeature({
      ...{ ...shared, gate: this.#gate, parking: softwareParking, operations: () => this.#operations },
      ...{ isActive: () => Promise.resolve(true), onExpiryFailure: () => undefined },
    })
    this.#operations = [...callers.operations, ...holds.operations, ...make({ ...shared, callers: callers.callers })]
  }

  /** `make`: the operations of the feature that is tested. */
  static async open(make: (parts: Parts) => readonly AnyOperation[]): Promise<TwoOfficers> {
    return new TwoOfficers(await testDatabase(), make)
  }

  close(): Promise<void> {
    return this.db.close()
  }

  /** Of `admission.file` the operation `policies.admission.file`. */
  async ask(name: string, body: object, caller: Caller = alice): Promise<Answer> {
    const op = this.#operations.find((candidate) => candidate.name === `policies.${name}`)
    if (op === undefined) throw new Error(`no operation ${name}`)
    return (await perform(this.#gate, op, { caller, body })) as Answer
  }

  /** Answers the id of the registration. */
  async register(kind: RegisteredKind, name = `${kind}-${String((this.#registered += 1))}`): Promise<string> {
    return String((await this.ask('caller.register', { kind, name }))['callerId'])
  }

  /** Alice asks and is held, cannot approve it herself, Bob does, and she runs it. */
  async byTwo(name: string, body: object): Promise<Answer> {
    const first = await problemOf(this.ask(name, body, alice))
    if (first.code !== 'held') throw first
    const holdId = this.log.entries.findLast(({ code }) => code === 'held')?.id
    const { digest, input } = await this.ask('hold.get', { holdId }, bob)
    if (JSON.stringify(input) !== JSON.stringify(JSON.parse(sortedJson(body))))
      throw new Error(`what is held is not what was asked for: ${JSON.stringify(input)}`)
    const own = await problemOf(this.ask('hold.approve', { holdId, digest }, alice))
    if (own.code !== 'forbidden') throw own
    await this.ask('hold.approve', { holdId, digest }, bob)
    return this.ask('hold.run', { holdId }, alice)
  }
}

const sortedJson = (body: object): string =>
  JSON.stringify(body, (_key, part: unknown) =>
    typeof part === 'object' && part !== null && !Array.isArray(part) ? Object.fromEntries(Object.entries(part).sort(([a], [b]) => (a < b ? -1 : 1))) : part,
  )
