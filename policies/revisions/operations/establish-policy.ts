import { z } from 'zod'
import { Problem } from '../../../core/problem.ts'
import { digestRow } from '../../../core/row.ts'
import { type Caller, callerUrn } from '../../caller.ts'
import { type Operation, operation } from '../../operation.ts'
import { type Activation, activationMessage, revisionOf } from '../activation.ts'
import { ACTIVATION, type ActivationView, viewActivation } from '../view.ts'
import type { Deps } from './deps.ts'

interface Target {
  readonly text: string
  readonly latest: Activation | undefined
  readonly caller: Caller
  readonly now: Date
}

/** By the service itself, once: the policy of the data folder becomes the first one. It is decided by that policy. */
export const establishPolicy = ({ activations, signer, databaseNow }: Deps): Operation<{ text: string }, Target, Activation, ActivationView> =>
  operation({
    name: 'policies.revision.establish',
    summary: 'Makes the policy of the data folder the first one.',
    effect: 'durable',
    input: z.strictObject({ text: z.string() }),
    output: ACTIVATION,
    locate: async ({ text }, caller) => ({ text, caller, latest: await activations.latest(), now: await databaseNow() }),
    uses: () => [{ action: 'sign', keyId: signer.keyId }],
    facts: ({ text }) => ({ public: { number: 1, revision: revisionOf(text) } }),
    admit: ({ latest }) => (latest === undefined ? undefined : new Problem('conflict', 'There is a policy already.')),
    execute: async (permit, { text, caller, now }) => ({
      ...{
        number: 1,
        revision: revisionOf(text),
        text,
        reason: 'first start',
        activatedBy: callerUrn(caller),
        activatedAt: now,
        state: 'confirmed',
        version: 1,
      },
      signature: await signer.sign(permit, activationMessage({ number: 1, text })),
    }),
    record: async (tx, _target, activation) => ({ facts: { rows: [digestRow(await activations.insert(tx, activation))] } }),
    respond: ({ now }, activation) => viewActivation(activation, now),
  })
