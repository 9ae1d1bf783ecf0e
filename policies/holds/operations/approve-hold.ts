import { z } from 'zod'
import { equalBytes, fromBase64url } from '../../../core/bytes.ts'
import { found } from '../../../core/found.ts'
import { Problem } from '../../../core/problem.ts'
import { digestRow } from '../../../core/row.ts'
import { type Operation, operation } from '../../operation.ts'
import { type Approval, namesCaller, personKey } from '../hold.ts'
import { HOLD, type HoldView, viewHold } from '../view.ts'
import type { Deps } from './deps.ts'
import { admitOpen, HOLD_ID, holdFacts, type HoldTarget, locateHold, ROUTE } from './steps.ts'

interface Target extends HoldTarget {
  readonly digest: Uint8Array
}

/** Why this caller can neither approve nor refuse it. Who asked never approves, by whatever registration. */
export function obstacleToVoice({ hold, caller }: HoldTarget): Problem | undefined {
  const { requester, of } = found(hold)
  if (requester.person === personKey(caller)) return new Problem('forbidden', 'You asked for this yourself. Another person must approve it.')
  if (of.some((pattern) => namesCaller(pattern, caller))) return undefined
  return new Problem('forbidden', `This is approved by ${of.join(', ')}.`)
}

export const approveHold = (deps: Deps): Operation<{ holdId: string; digest: string }, Target, Approval, HoldView> =>
  operation<{ holdId: string; digest: string }, Target, Approval, HoldView>({
    name: 'policies.hold.approve',
    summary: 'Approves a held request, as another person than who asked. The digest says what was looked at.',
    effect: 'durable',
    route: { method: 'POST', path: `${ROUTE}/approve` },
    input: z.strictObject({
      holdId: HOLD_ID,
      digest: z
        .string()
        .regex(/^[A-Za-z0-9_-]{43}$/, 'a SHA-256 digest in base64url')
        .meta({ description: 'Of policies.hold.get.' }),
    }),
    output: HOLD,
    locate: async ({ holdId, digest }, caller) => ({ ...(await locateHold(deps, holdId, caller)), digest: fromBase64url(digest) }),
    uses: () => [],
    facts: holdFacts,
    admit: (target) => {
      const obstacle = admitOpen(target) ?? obstacleToVoice(target)
      if (obstacle !== undefined) return obstacle
      if (equalBytes(found(target.hold).digest, target.digest)) return undefined
      return new Problem('conflict', 'The digest is that of another input. Look at the held request again.')
    },
    execute: (_permit, { hold, caller, digest, now }) =>
      Promise.resolve({
        holdId: found(hold).id,
        approver: { kind: caller.kind, name: caller.name, id: caller.id, person: personKey(caller) },
        digest,
        at: now,
      }),
    record: async (tx, _target, approval) => ({ facts: { rows: [digestRow(await deps.holds.approve(tx, approval))] } }),
    respond: ({ hold, approvals, now }, approval) => viewHold(found(hold), [...approvals, approval], now),
  })
