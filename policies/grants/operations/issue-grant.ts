import { z } from 'zod'
import { newUuid } from '../../../core/ids.ts'
import { Problem } from '../../../core/problem.ts'
import { digestRow } from '../../../core/row.ts'
import { type Caller, callerUrn, REGISTERED_KINDS, type RegisteredKind } from '../../caller.ts'
import { parseNetwork } from '../../firewall/network.ts'
import { covers } from '../../firewall/references.ts'
import { byAnotherOfficer, type Operation, operation } from '../../operation.ts'
import { REASON } from '../../reason.ts'
import { type Grant, grantRule } from '../grant.ts'
import { GRANT, type GrantView, viewGrant } from '../view.ts'
import { type Deps, ROUTE } from './deps.ts'

const HOUR_MS = 3_600_000
/** Grants that count at one time. They are for exceptions: who needs more changes the policy. */
const MOST_LIVE = 100

const TIME = z.iso.datetime({ offset: true, error: 'a time with its offset (RFC 3339): 2026-11-26T18:00:00+08:00' })
const INPUT = z.strictObject({
  reason: REASON,
  callers: z
    .array(z.string().regex(new RegExp(`^urn:gridseal:(${REGISTERED_KINDS.join('|')}):[a-z0-9][a-z0-9._-]{0,55}$`), 'the URN of a registered caller'))
    .min(1)
    .max(20)
    .meta({ description: 'Who may, by name.', example: ['urn:gridseal:module:billing'] }),
  operations: z
    .array(z.string().regex(/^[a-z0-9-]+(?:\.[a-z0-9-]+)*(?:\.\*)?$/, 'an operation or a pattern: kms.key.sign, kms.key.*'))
    .min(1)
    .max(50)
    .meta({ description: 'What they may do.', example: ['kms.key.attest'] }),
  zones: z
    .array(z.string().regex(/^[a-z0-9][a-z0-9._-]{0,63}$/, 'the name of a zone'))
    .max(20)
    .default([])
    .meta({ description: 'From one of these zones of the policy. Absent: any.' }),
  networks: z
    .array(z.string().refine((text) => parseNetwork(text) !== undefined, 'a network: 10.1.0.0/16 or 2001:db8::/32, no bits behind the prefix'))
    .max(20)
    .default([])
    .meta({ description: 'From one of these networks. Absent: any.' }),
  from: TIME.optional().meta({ description: 'Absent: from the moment on at which it is run.' }),
  until: TIME,
})
type Input = z.infer<typeof INPUT>
interface Target {
  readonly asked: Input
  readonly by: Caller
  /** Those of the named that are not there, or are revoked. */
  readonly strangers: readonly string[]
  /** Patterns that name no operation that callers reach. */
  readonly unknown: readonly string[]
  readonly live: number
  readonly now: Date
}

/** Two officers let somebody do for a while what no rule allows. Each node knows of it within a second or so. */
export const issueGrant = (deps: Deps): Operation<Input, Target, Grant, GrantView> =>
  operation<Input, Target, Grant, GrantView>({
    name: 'policies.grant.issue',
    summary: 'Grants emergency or temporary access: callers may do for a while what no rule allows them. Held until another officer has approved it.',
    effect: 'durable',
    route: { method: 'POST', path: ROUTE, status: 201 },
    input: INPUT,
    output: GRANT,
    locate: async (asked, by) => {
      const registrations = await Promise.all(
        asked.callers.map(async (urn) => {
          const [kind = '', name = ''] = urn.split(':').slice(2)
          return { urn, found: await deps.callers.findByName(kind as RegisteredKind, name) }
        }),
      )
      const routed = deps.operations().filter(({ isRouted }) => isRouted)
      return {
        ...{ asked, by, now: deps.now(), live: (await deps.grants.live()).length },
        strangers: registrations.filter(({ found }) => found?.state !== 'active').map(({ urn }) => urn),
        unknown: asked.operations.filter((pattern) => !routed.some(({ name }) => covers(pattern, name))),
      }
    },
    uses: () => [],
    facts: ({ asked: { reason, callers, operations, zones, networks, from, until } }) => ({
      public: {
        ...{ reason, callers, operations, until },
        ...(from === undefined ? {} : { from }),
        ...(zones.length === 0 ? {} : { zones }),
        ...(networks.length === 0 ? {} : { networks }),
      },
    }),
    admit: ({ asked, strangers, unknown, live, now }) => {
      if (strangers.length > 0) return new Problem('not-found', `Not registered, or revoked: ${strangers.join(', ')}.`)
      if (unknown.length > 0) return new Problem('not-found', `No operation that callers reach is named so: ${unknown.join(', ')}.`)
      const [from, until] = timesOf(asked, now)
      if (until <= now || until <= from) return new Problem('conflict', 'It would be over before it begins. Name a later end.')
      if (until.getTime() - from.getTime() > deps.mostHours * HOUR_MS)
        return new Problem('conflict', `A grant lasts ${String(deps.mostHours)} h at most. What is to last longer belongs into the policy.`)
      return live >= MOST_LIVE ? new Problem('conflict', `There are ${String(MOST_LIVE)} live grants already. Revoke some, or change the policy.`) : undefined
    },
    leastHold: () => byAnotherOfficer(24),
    execute: (_permit, { asked, by, now }) => {
      const { reason, callers, operations, zones, networks } = asked
      const [from, until] = timesOf(asked, now)
      return Promise.resolve({
        ...{ id: newUuid(), reason, callers: [...new Set(callers)], operations: [...new Set(operations)], zones, networks, from, until },
        ...{ issuedBy: callerUrn(by), issuedAt: now, version: 1 },
      })
    },
    record: async (tx, _target, grant) => ({
      facts: { public: { grant: grantRule(grant) }, rows: [digestRow(await deps.grants.insert(tx, grant))] },
    }),
    respond: ({ now }, grant) => viewGrant(grant, now),
  })

/** It does not begin before it is issued. */
const timesOf = ({ from, until }: Input, now: Date): readonly [Date, Date] => [
  from === undefined || new Date(from) < now ? now : new Date(from),
  new Date(until),
]
