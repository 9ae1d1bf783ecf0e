import { z } from 'zod'
import { found } from '../../../core/found.ts'
import { Problem } from '../../../core/problem.ts'
import { digestRow } from '../../../core/row.ts'
import { type Caller, callerUrn } from '../../caller.ts'
import { type LoadedPolicy, PolicyError } from '../../firewall/index.ts'
import { parsePolicy, type Policy } from '../../firewall/parse.ts'
import { officersOnly, type Operation, operation } from '../../operation.ts'
import { REASON } from '../../reason.ts'
import { type Activation, activationMessage, hasRunOut, revisionOf } from '../activation.ts'
import { lockOut } from '../lock-out.ts'
import { ACTIVATION, type ActivationView, POLICY_TEXT, viewActivation } from '../view.ts'
import type { Deps } from './deps.ts'

interface Input {
  readonly text: string
  readonly reason: string
  readonly confirmWithinSeconds: number
}
interface Target extends Input {
  readonly caller: Caller
  readonly revision: string
  readonly latest: Activation
  /** Whether it is the latest one that counts, and not what that returns to. */
  readonly loaded: LoadedPolicy | undefined
  readonly error: PolicyError | undefined
  readonly isGuardChanged: boolean
  readonly lockOut: string | undefined
  readonly now: Date
}

/** Others that must approve a policy, and one that changes the guard chain. */
const APPROVALS = { policy: 1, guard: 2 } as const
const HOLD_MS = 7 * 24 * 3_600_000

/**
 * A policy is put to work on trial, once others have approved it: from then on it decides, until it is confirmed or its time is over.
 * Order of durable effects: the intent; the token's signature, which nobody has yet; the activation with the outcome. Nodes take it when they next renew their leases.
 */
export const activateRevision = (deps: Deps): Operation<Input, Target, Activation, ActivationView> =>
  operation({
    name: 'policies.revision.activate',
    summary: 'Puts a policy to work on trial. It is read, tested and held for approval first.',
    effect: 'durable',
    route: { method: 'POST', path: '/v1/policies/revisions', status: 201, maxBodyBytes: 2 * 1024 * 1024 },
    input: z.strictObject({
      text: POLICY_TEXT,
      reason: REASON,
      confirmWithinSeconds: z.number().int().min(10).max(86_400).default(600).meta({ description: 'How long the trial lasts.' }),
    }),
    output: ACTIVATION,
    locate: async (input, caller) => locateChange(deps, input, caller),
    uses: () => [{ action: 'sign', keyId: deps.signer.keyId }],
    facts: ({ revision, latest, isGuardChanged, loaded }) => ({
      public: {
        ...{ revision, base: latest.revision, number: latest.number + 1, guardChanged: isGuardChanged },
        ...(loaded === undefined
          ? {}
          : { rules: loaded.resolved.rules.filter(({ path }) => path !== undefined).length, tests: loaded.policy.document.tests.length }),
      },
    }),
    admit: ({ caller, error, latest, now, revision, lockOut: proof }) => {
      const obstacle = officersOnly(caller)
      if (obstacle !== undefined) return obstacle
      if (error !== undefined)
        return new Problem('request-invalid', 'The policy cannot be used. See `faults`; nothing was changed.', { faults: error.faults.slice(0, 101) })
      if (latest.state === 'trial' && !hasRunOut(latest, now))
        return new Problem('conflict', `The policy activation ${String(latest.number)} is on trial. Confirm it or roll it back first.`)
      if (latest.state === 'trial') return new Problem('conflict', 'A trial has just run out. Ask again in some seconds.')
      if (latest.revision === revision) return new Problem('conflict', 'This policy is in force already.')
      return proof === undefined ? undefined : new Problem('conflict', `${proof} It was not put to work.`)
    },
    leastHold: ({ isGuardChanged }) => ({ approvals: isGuardChanged ? APPROVALS.guard : APPROVALS.policy, of: ['officer:*'], withinMs: HOLD_MS }),
    execute: async (permit, { text, revision, reason, latest, caller, confirmWithinSeconds }) => {
      const now = await deps.databaseNow()
      const number = latest.number + 1
      return {
        ...{ number, revision, text, reason, returnsTo: latest.number, activatedBy: callerUrn(caller), activatedAt: now, state: 'trial', version: 1 },
        confirmBy: new Date(now.getTime() + confirmWithinSeconds * 1000),
        signature: await deps.signer.sign(permit, activationMessage({ number, text })),
      }
    },
    record: async (tx, _target, activation) => ({ facts: { rows: [digestRow(await deps.activations.insert(tx, activation))] } }),
    respond: ({ now }, activation) => viewActivation(activation, now),
  })

async function locateChange(deps: Deps, input: Input, caller: Caller): Promise<Target> {
  const [latest, now, officers] = await Promise.all([deps.activations.latest(), deps.databaseNow(), deps.officersLike(caller)])
  const base = found(latest)
  const common = { ...input, caller, revision: revisionOf(input.text), latest: base, now }
  // Reading a policy may hold the event loop for a second.
  if (officersOnly(caller) !== undefined) return { ...common, loaded: undefined, error: undefined, isGuardChanged: true, lockOut: undefined }
  try {
    const loaded = deps.load(input.text)
    return {
      ...{ ...common, loaded, error: undefined, isGuardChanged: guardOf(loaded.policy) !== guardOf(parsePolicy(base.text)) },
      lockOut: lockOut({ decide: loaded.decide, officers, at: now.getTime() }),
    }
  } catch (error) {
    if (error instanceof PolicyError) return { ...common, loaded: undefined, error, isGuardChanged: true, lockOut: undefined }
    throw error
  }
}

/** The guard chain and what it names. */
const guardOf = ({ document }: Policy): string => JSON.stringify([document.guard, document.guard.length === 0 ? [] : [document.zones, document.sets]])
