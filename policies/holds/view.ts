import { z } from 'zod'
import { base64url } from '../../core/bytes.ts'
import { callerUrn } from '../caller.ts'
import type { Approval, Hold } from './hold.ts'

export const HOLD = z
  .strictObject({
    holdId: z.string(),
    operation: z.string().meta({ description: 'What was asked for.' }),
    requester: z.string().meta({ description: 'URN of who asked.' }),
    digest: z.string().meta({ description: 'SHA-256 of salt and input (docs/holds.md), base64url: an approval names it.' }),
    facts: z.record(z.string(), z.unknown()).meta({ description: 'What it would do, as the log says it.' }),
    rule: z.string().meta({ description: 'The rule that holds it.' }),
    revision: z.string(),
    approvals: z.strictObject({ needed: z.number().int(), of: z.array(z.string()), given: z.array(z.strictObject({ approver: z.string(), at: z.string() })) }),
    askedAt: z.string(),
    deadline: z.string(),
    state: z.enum(['waiting', 'run', 'refused', 'withdrawn', 'expired']),
    endedBy: z.string().optional(),
    runBy: z.string().optional().meta({ description: 'Id of the operation that did it.' }),
    reason: z.string().optional(),
  })
  .meta({ id: 'Hold' })
export type HoldView = z.infer<typeof HOLD>

/** A hold that waits past its deadline has expired, whether or not that is written down yet. */
export const viewHold = (h: Hold, approvals: readonly Approval[], now: Date): HoldView => ({
  ...{ holdId: h.id, operation: h.operation, requester: callerUrn(h.requester), digest: base64url(h.digest) },
  ...{ facts: JSON.parse(h.facts) as Record<string, unknown>, rule: h.rule, revision: h.revision },
  approvals: { needed: h.approvals, of: [...h.of], given: approvals.map(({ approver, at }) => ({ approver: callerUrn(approver), at: at.toISOString() })) },
  ...{ askedAt: h.askedAt.toISOString(), deadline: h.deadline.toISOString(), state: h.state === 'waiting' && now >= h.deadline ? 'expired' : h.state },
  ...(h.endedBy === undefined ? {} : { endedBy: h.endedBy }),
  ...(h.runBy === undefined ? {} : { runBy: h.runBy }),
  ...(h.reason === undefined ? {} : { reason: h.reason }),
})
