import { z } from 'zod'
import { found } from '../../../core/found.ts'
import { Problem } from '../../../core/problem.ts'
import { digestRow } from '../../../core/row.ts'
import { type Caller, callerUrn } from '../../caller.ts'
import { type Operation, operation } from '../../operation.ts'
import { REASON } from '../../reason.ts'
import { type Activation, activationMessage, hasRunOut, obstacleToEnding } from '../activation.ts'
import { ACTIVATION, type ActivationView, viewActivation } from '../view.ts'
import type { Deps } from './deps.ts'

const NUMBER = z.coerce.number().int().min(1).max(2_147_483_647).meta({ description: 'Of the activation.' })

interface Target {
  readonly number: number
  readonly activation: Activation | undefined
  readonly latest: number
  readonly now: Date
  readonly caller: Caller
}

async function locateTrial({ activations, databaseNow }: Deps, number: number, caller: Caller): Promise<Target> {
  const [activation, latest, now] = await Promise.all([activations.find(number), activations.latest(), databaseNow()])
  return { number, activation, latest: latest?.number ?? 0, now, caller }
}

const trialFacts = ({ number, activation }: Target) => ({ public: { number, ...(activation === undefined ? {} : { revision: activation.revision }) } })

/** The policy on trial has to allow it: whoever it locks out cannot confirm it. */
export const confirmRevision = (deps: Deps): Operation<{ number: number }, Target, Activation, ActivationView> =>
  operation({
    name: 'policies.revision.confirm',
    summary: 'Confirms the policy that is on trial: it stays.',
    effect: 'durable',
    route: { method: 'POST', path: '/v1/policies/revisions/{number}/confirm' },
    input: z.strictObject({ number: NUMBER }),
    output: ACTIVATION,
    locate: ({ number }, caller) => locateTrial(deps, number, caller),
    uses: () => [],
    facts: trialFacts,
    admit: ({ activation, latest, now }) => obstacleToEnding(activation, latest, now),
    execute: (_permit, { activation, caller }) => {
      const trial = found(activation)
      return Promise.resolve({ ...trial, state: 'confirmed', endedBy: callerUrn(caller), version: trial.version + 1 })
    },
    record: async (tx, _target, confirmed) => ({ facts: { rows: [digestRow(await deps.activations.end(tx, confirmed))] } }),
    respond: ({ now }, confirmed) => viewActivation(confirmed, now),
  })

type Asked = Target & { readonly reason: string }

interface RolledBack {
  readonly ended: Activation
  /** What was in force before, with a number of its own. */
  readonly next: Activation
}

/** Order of durable effects: the intent; a signature that nobody has yet; the end of the trial and what follows it with the outcome. */
const rollingBack = (deps: Deps) => ({
  effect: 'durable' as const,
  output: ACTIVATION,
  uses: () => [{ action: 'sign' as const, keyId: deps.signer.keyId }],
  facts: (target: Asked) => trialFacts(target),
  execute: async (permit: Parameters<Deps['signer']['sign']>[0], { activation, caller, reason, now }: Asked): Promise<RolledBack> => {
    const trial = found(activation)
    const before = found(await deps.activations.find(found(trial.returnsTo)))
    const number = trial.number + 1
    return {
      ended: { ...trial, state: 'rolled-back', endedBy: callerUrn(caller), version: trial.version + 1 },
      next: {
        ...{ number, revision: before.revision, text: before.text, reason, activatedBy: callerUrn(caller), activatedAt: now, state: 'confirmed', version: 1 },
        signature: await deps.signer.sign(permit, activationMessage({ number, text: before.text })),
      },
    }
  },
  record: async (tx: Parameters<Deps['activations']['end']>[0], _target: Asked, { ended, next }: RolledBack) => ({
    facts: { rows: [digestRow(await deps.activations.end(tx, ended)), digestRow(await deps.activations.insert(tx, next))] },
  }),
  respond: ({ now }: Asked, { next }: RolledBack) => viewActivation(next, now),
})

export const rollBackRevision = (deps: Deps): Operation<{ number: number; reason: string }, Asked, RolledBack, ActivationView> =>
  operation({
    ...rollingBack(deps),
    name: 'policies.revision.roll-back',
    summary: 'Ends the trial of a policy: the one before it counts again.',
    route: { method: 'POST', path: '/v1/policies/revisions/{number}/roll-back' },
    input: z.strictObject({ number: NUMBER, reason: REASON }),
    locate: async ({ number, reason }, caller) => ({ ...(await locateTrial(deps, number, caller)), reason }),
    admit: ({ activation, latest, now }) => obstacleToEnding(activation, latest, now),
  })

/** By the service itself: writes down that a trial was not confirmed in time. What counts does not wait for it. */
export const endTrial = (deps: Deps): Operation<{ number: number }, Asked, RolledBack, ActivationView> =>
  operation({
    ...rollingBack(deps),
    name: 'policies.revision.end-trial',
    summary: 'Rolls back a policy that was not confirmed in time.',
    input: z.strictObject({ number: NUMBER }),
    locate: async ({ number }, caller) => ({ ...(await locateTrial(deps, number, caller)), reason: 'not confirmed in time' }),
    admit: ({ activation, latest, now }) => {
      if (activation === undefined || activation.number !== latest || activation.state !== 'trial') return new Problem('conflict', 'It is no trial any more.')
      return hasRunOut(activation, now) ? undefined : new Problem('conflict', 'Its time is not over.')
    },
  })
