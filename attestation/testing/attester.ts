import { Problem } from '../../core/problem.ts'
import { type Sql, sqlOf, Tx } from '../../core/tx.ts'
import type { AuditLog, EntryDraft } from '../../policies/audit/log.ts'
import type { Caller, CallerKind } from '../../policies/caller.ts'
import type { Asked, Decision } from '../../policies/firewall/decide.ts'
import { type Gate, perform } from '../../policies/gate.ts'
import { sameName } from '../../policies/testing/same-name.ts'
import { type TestDatabase, testDatabase } from '../../server/postgres/test-database.ts'
import { type AttestationDeps, type AttestationFeature, attestationFeature } from '../index.ts'
import { type ChallengeAnswer, TestCards } from './cards.ts'
import { softHsm } from './soft-hsm.ts'

export const person = (kind: CallerKind, name: string): Caller => ({ kind, name, id: `id-of-${kind}-${name}`, certificate: '00', address: '127.0.0.1' })
export const [terminal, other] = [person('module', 'terminal'), person('module', 'other')]
export const [alice, bob] = [person('officer', 'alice'), person('officer', 'bob')]

/** Of `database-clock.pg.ts`. */
const CLOCK = 'SELECT clock_timestamp() AS now'

/** The feature over a real database and a soft HSM. */
export class Attester {
  readonly feature: AttestationFeature
  readonly cards: TestCards
  readonly db: TestDatabase
  readonly soft: ReturnType<typeof softHsm>
  readonly entries: EntryDraft[] = []
  /** Texts of the statements of the service, in order; without that of the clock, which is read once a second whoever asks. */
  readonly statements: string[] = []
  /** When set, the next transaction runs its work, is rolled back, and after this runs it again: as one that was shared and failed. */
  betweenRuns: (() => Promise<unknown>) | undefined
  /** What was put to the policy. */
  readonly asked: Asked[] = []
  /** What the policy says. */
  decide: (asked: Asked) => Decision = () => ({ effect: 'allow', rule: 'test', revision: 'test', reason: '' })
  readonly #gate: Gate

  /** `token`: in place of the soft HSM and its cards. */
  constructor(db: TestDatabase, token?: Pick<AttestationDeps, 'hsm' | 'sealer' | 'cards' | 'cardRows'>) {
    this.db = db
    this.soft = softHsm()
    this.cards = new TestCards(this.soft)
    const recorded = (sql: Sql): Sql => ({
      query: (text, values) => {
        if (text !== CLOCK) this.statements.push(text)
        return sql.query(text, values)
      },
    })
    const limited = limiter(8)
    const log: AuditLog = {
      transact: (work) =>
        limited(async () => {
          const group: EntryDraft[] = []
          const run = (tx: Tx) => work({ tx: new Tx(recorded(sqlOf(tx))), append: (entry) => void group.push(entry) })
          const { betweenRuns } = this
          this.betweenRuns = undefined
          if (betweenRuns !== undefined) {
            const rolledBack = db.transact(async (tx) => {
              await run(tx)
              throw new Error('another work of the transaction failed')
            })
            await rolledBack.catch(() => undefined)
            group.length = 0
            await betweenRuns()
          }
          const result = await db.transact(run)
          this.entries.push(...group)
          return result
        }),
      giveUp: () => undefined,
      append: (entry) => Promise.resolve(void this.entries.push(entry)),
    }
    const decide = (asked: Asked): Decision => {
      this.asked.push(asked)
      return this.decide(asked)
    }
    this.#gate = { decide, log }
    this.feature = attestationFeature({
      ...(token ?? { hsm: this.soft.hsm, sealer: this.soft.sealer, cards: this.cards, cardRows: this.soft.sealer }),
      ...{ sql: recorded(db.sql), gate: this.#gate, samePerson: sameName, build: 'gridseal test' },
    })
  }

  call<Output = Record<string, unknown>>(caller: Caller, name: string, body: object): Promise<Output> {
    const op = this.feature.operations.find((candidate) => candidate.name === `attestation.${name}`)
    if (op === undefined) throw new Error(`no operation is named ${name}`)
    return perform(this.#gate, op, { caller, body }) as Promise<Output>
  }

  /** The problem that a call ends in. */
  async refused(caller: Caller, name: string, body: object): Promise<Problem> {
    try {
      await this.call(caller, name, body)
    } catch (error) {
      if (error instanceof Problem) return error
      throw error
    }
    throw new Error(`${name} was not refused`)
  }

  challenge(iccid: string, method: string, caller = terminal): Promise<ChallengeAnswer> {
    return this.call(caller, 'card.challenge', { iccid, method })
  }

  answer(iccid: string, { challengeId }: ChallengeAnswer, answer: object, caller = terminal): Promise<{ verdict: string; reason?: string; result?: string }> {
    return this.call(caller, 'card.answer', { iccid, challengeId, ...answer })
  }

  /** Entries of an operation's kind, without the prefix. */
  entriesOf(name: string, kind: EntryDraft['kind']): EntryDraft[] {
    return this.entries.filter((entry) => entry.operation === `attestation.${name}` && entry.kind === kind)
  }
}

export async function openAttester(): Promise<Attester> {
  const attester = new Attester(await testDatabase())
  await attester.feature.establish()
  return attester
}

function limiter(most: number): <Result>(work: () => Promise<Result>) => Promise<Result> {
  let running = 0
  const waiting: (() => void)[] = []
  return async (work) => {
    if (running >= most) await new Promise<void>((resolve) => void waiting.push(resolve))
    else running++
    try {
      return await work()
    } finally {
      const next = waiting.shift()
      if (next === undefined) running--
      else next()
    }
  }
}
