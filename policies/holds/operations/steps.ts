import { z } from 'zod'
import { base64url, concat } from '../../../core/bytes.ts'
import { found } from '../../../core/found.ts'
import { UUID_PATTERN } from '../../../core/ids.ts'
import { Problem } from '../../../core/problem.ts'
import type { Facts } from '../../audit/log.ts'
import { type Caller, callerUrn } from '../../caller.ts'
import type { KeyUse, Permit } from '../../permit.ts'
import { obstacleTo } from '../desk.ts'
import type { Approval, Hold } from '../hold.ts'
import { holdKey, type ParkedInput } from '../hold-store.ts'
import type { Deps } from './deps.ts'
import { bindings } from './park.ts'

export const HOLD_ID = z.string().regex(UUID_PATTERN, 'an id is a UUID in lower case').meta({ description: 'Id of the held request: that of its operation.' })
export const ROUTE = '/v1/policies/holds/{holdId}'

/** What every operation on one hold begins with. */
export interface HoldTarget {
  readonly holdId: string
  readonly caller: Caller
  readonly hold: Hold | undefined
  readonly approvals: readonly Approval[]
  readonly input: ParkedInput | undefined
  readonly now: Date
}

export async function locateHold({ holds, databaseNow }: Deps, holdId: string, caller: Caller): Promise<HoldTarget> {
  const [hold, approvals, input, now] = await Promise.all([holds.find(holdId), holds.approvals(holdId), holds.findInput(holdId), databaseNow()])
  return { holdId, caller, hold, approvals, input, now }
}

/** `requester`: for rules that let people see what they asked for themselves. */
export const holdFacts = ({ holdId, hold }: HoldTarget): Facts => ({
  public: { hold: holdId, ...(hold === undefined ? {} : { held: hold.operation, requester: callerUrn(hold.requester), inputDigest: base64url(hold.digest) }) },
})

export const readUses = ({ holdId }: HoldTarget): readonly KeyUse[] => [{ action: 'decrypt', keyId: holdKey(holdId) }]

export const noSuchHold = (): Problem => new Problem('not-found', 'There is no held request of that id.')

/** The same where there is none: who did not ask for it is not told. */
export const noneOfYours = (): Problem => new Problem('not-found', 'You asked for no held request of that id. Who asked for one runs it, or withdraws it.')

/** Nothing but reading can be done with a hold that has ended. */
export const admitOpen = ({ hold, now }: HoldTarget): Problem | undefined => (hold === undefined ? noSuchHold() : obstacleTo(hold, now))

/** decrypt the hold's key. What was sent. Throws `integrity-failed` where it is not what was parked. */
export async function readInput({ parking }: Deps, permit: Permit, { holdId, input }: HoldTarget): Promise<unknown> {
  const parked = found(input)
  const parts = await parking.open(permit, holdKey(holdId), parked, bindings(holdId, parked.parts.length))
  if (parts === undefined) throw new Problem('integrity-failed', `The input of the held request ${holdId} is not what the service parked. It was not used.`)
  return JSON.parse(Buffer.from(concat(...parts)).toString('utf8'))
}
