import { z } from 'zod'
import { Problem } from '../../../core/problem.ts'
import { digestRow } from '../../../core/row.ts'
import { type Caller, callerUrn } from '../../caller.ts'
import { type Operation, operation } from '../../operation.ts'
import { type CallerStore, type Registration, registrationRow } from '../caller-store.ts'
import { CALLER_ID, REGISTRATION, type RegistrationView, viewRegistration } from '../view.ts'

interface Target {
  readonly callerId: string
  readonly isSelf: boolean
  readonly found: Registration | undefined
}

/** Every registration of one's own person is oneself. */
async function ownership(callers: CallerStore, callerId: string, caller: Caller): Promise<Pick<Target, 'isSelf' | 'found'>> {
  const found = await callers.find(callerId)
  return { isSelf: caller.id === callerId || (found?.personId !== undefined && found.personId === caller.person?.id), found }
}

export const revokeCaller = ({ callers }: { readonly callers: CallerStore }): Operation<{ callerId: string }, Target, Registration, RegistrationView> =>
  operation({
    name: 'policies.caller.revoke',
    summary: 'Revokes a caller for good: all its certificates and sessions stop working within 5 seconds, on open connections too.',
    effect: 'durable',
    route: { method: 'POST', path: '/v1/policies/callers/{callerId}/revoke' },
    input: z.strictObject({ callerId: CALLER_ID }),
    output: REGISTRATION,
    locate: async ({ callerId }, caller) => ({ callerId, ...(await ownership(callers, callerId, caller)) }),
    uses: () => [],
    facts: ({ callerId, found }) => ({ public: { callerId, ...(found ? { subject: callerUrn(found) } : {}) } }),
    admit: ({ found, isSelf }) => {
      if (found === undefined) return new Problem('not-found', 'There is no caller of this id.')
      if (found.state === 'revoked') return new Problem('conflict', 'The caller is revoked already.')
      if (isSelf) return new Problem('conflict', 'Nobody revokes themselves: ask another officer.')
      return undefined
    },
    execute: (_permit, { found }) => {
      if (found === undefined) throw new Problem('not-found', 'There is no caller of this id.')
      return Promise.resolve({ ...found, state: 'revoked' as const, version: found.version + 1 })
    },
    record: async (tx, _target, revoked) => {
      await callers.update(tx, revoked)
      return { facts: { rows: [digestRow(registrationRow(revoked))] } }
    },
    respond: (_target, revoked) => viewRegistration(revoked),
  })
