import { randomBytes } from 'node:crypto'
import { Problem } from '../core/problem.ts'
import { PurgeJob } from '../core/purge-job.ts'
import type { RowSealer } from '../core/row.ts'
import type { SealedTable } from '../core/sealed-table.ts'
import type { Sql } from '../core/tx.ts'
import { type Hsm, ROOT_KEYS } from '../pkcs11/index.ts'
import { type SamePerson, systemCaller } from '../policies/caller.ts'
import { type Gate, perform } from '../policies/gate.ts'
import type { AnyOperation } from '../policies/operation.ts'
import { bindingTables, PgBindingStore } from './binding-store.pg.ts'
import { MOST_PURGED } from './challenge-store.ts'
import { challengeTable, PgChallengeStore } from './challenge-store.pg.ts'
import { databaseClock, nearlyNow } from '../core/database-clock.pg.ts'
import { decoyTable, PgDecoyStore } from './decoy-store.pg.ts'
import type { CardSource } from './known-card.ts'
import { answerChallenge } from './operations/answer-challenge.ts'
import { appraiseEvidence } from './operations/appraise-evidence.ts'
import { appraiseEvidenceBatch } from './operations/appraise-evidence-batch.ts'
import { approveUnbind } from './operations/approve-unbind.ts'
import { bind } from './operations/bind.ts'
import { bindingHistory } from './operations/binding-history.ts'
import { challengeCard } from './operations/challenge-card.ts'
import { challengeCards } from './operations/challenge-cards.ts'
import type { Deps } from './operations/deps.ts'
import { establishDecoy } from './operations/establish-decoy.ts'
import { getBinding } from './operations/get-binding.ts'
import { purgeNonces } from './operations/purge-nonces.ts'
import { requestUnbind } from './operations/request-unbind.ts'
import { keySetOf } from './result.ts'
import { PgSqnStore, sequenceTable } from './sqn-store.pg.ts'
import { PgUnbindRequestStore, unbindRequestTable } from './unbind-request-store.pg.ts'

export type { CardCertificate, CardSource, KnownCard } from './known-card.ts'

export interface AttestationDeps {
  readonly hsm: Hsm
  readonly sealer: RowSealer
  readonly sql: Sql
  /** Through which the decoy is made and challenges are purged. */
  readonly gate: Gate
  readonly cards: CardSource
  /** Checks the rows of cards, and remembers none: see known-card.ts. */
  readonly cardRows: Pick<RowSealer, 'assertRows'>
  /** Whether who approves is the person who asked. */
  readonly samePerson: SamePerson
  /** Name and version of this software, as results tell it: `gridseal 0.1.0`. */
  readonly build: string
  /** Of the log: sequence numbers go on above them. Default none. */
  readonly recoveries?: number
  readonly now?: () => Date
  /** `n` unpredictable bytes: nonces are made of them. Default node's. */
  readonly random?: (n: number) => Uint8Array
  /** How often challenges are purged. Default 10 minutes. */
  readonly purgeMs?: number
  /** Told of every failure of the purge. */
  readonly onPurgeFailure?: (problem: Problem) => void
}

export interface AttestationFeature {
  readonly operations: readonly AnyOperation[]
  /** Makes the decoy where there is none, as the caller `system:attestation`. At each start, of several processes too; it does nothing at the second. */
  establish(): Promise<void>
  readonly purgeJob: Pick<PurgeJob, 'start' | 'stop'>
  /** Its tables whose rows bear MACs. */
  readonly sealedTables: readonly SealedTable[]
  /** Forgets rows that are kept because they never change: a rotation of root keys has changed them. */
  forgetRows(): void
  /** The keys that results are checked with: a JWK set (RFC 7517 5). */
  keySet(): object
}

export function attestationFeature(given: AttestationDeps): AttestationFeature {
  const { hsm, sealer, sql, gate, cards, cardRows, samePerson, build, recoveries = 0, random = (n) => randomBytes(n) } = given
  const databaseNow = databaseClock(sql)
  const deps: Deps = {
    ...{ hsm, cards, cardRows, samePerson, build, random },
    challenges: new PgChallengeStore({ sql, sealer }),
    sequences: new PgSqnStore({ sql, sealer, recoveries }),
    decoys: new PgDecoyStore({ sql, sealer }),
    bindings: new PgBindingStore({ sql, sealer }),
    unbindRequests: new PgUnbindRequestStore({ sql, sealer }),
    now: given.now ?? (() => new Date()),
    databaseNow,
    databaseNearlyNow: nearlyNow(databaseNow),
  }
  const [establish, purge] = [establishDecoy(deps), purgeNonces(deps)]
  const asSystem = async (op: AnyOperation): Promise<Record<string, unknown>> =>
    (await perform(gate, op, { caller: systemCaller('attestation'), body: {} })) as Record<string, unknown>
  return {
    operations: [
      ...[challengeCard(deps), answerChallenge(deps), appraiseEvidence(deps)],
      ...[challengeCards(deps), appraiseEvidenceBatch(deps)],
      ...[bind(deps), requestUnbind(deps), approveUnbind(deps), getBinding(deps), bindingHistory(deps)],
      ...[establish, purge],
    ],
    establish: async () => {
      if ((await deps.decoys.find()) !== undefined) return
      try {
        await asSystem(establish)
      } catch (error) {
        const another = error instanceof Problem && error.code === 'conflict'
        if (!another) throw error
      }
    },
    purgeJob: new PurgeJob({
      purge: async () => {
        for (let more = true; more; ) more = (await asSystem(purge))['deleted'] === MOST_PURGED
      },
      ...(given.purgeMs === undefined ? {} : { everyMs: given.purgeMs }),
      ...(given.onPurgeFailure === undefined ? {} : { onFailure: given.onPurgeFailure }),
    }),
    sealedTables: [decoyTable(sql), challengeTable(sql), sequenceTable(sql), ...bindingTables(sql), unbindRequestTable(sql)],
    forgetRows: () => deps.decoys.forget(),
    keySet: () => keySetOf([hsm.rootPublicKey(ROOT_KEYS.result)]),
  }
}
