import { type AskOptions as Options, show, tell, uuidOf } from './api-command.ts'
import { CliError } from './cli-error.ts'
import { tellOrHeld } from './hold.ts'
import { timeOf } from './time-option.ts'
import { assertReach, withClient } from './with-client.ts'

const GRANTS = '/v1/policies/grants'
const PAGE = 1000

interface Grant {
  readonly grantId: string
  readonly reason: string
  readonly callers: readonly string[]
  readonly operations: readonly string[]
  readonly zones: readonly string[]
  readonly networks: readonly string[]
  readonly from: string
  readonly until: string
  readonly state: string
  readonly issuedBy: string
  readonly issuedAt: string
  readonly revoked?: { readonly by: string; readonly at: string; readonly reason: string }
}
interface Use {
  readonly index: number
  readonly operationId: string
  readonly time: string
  readonly kind: string
  readonly operation: string
  readonly caller: string
  readonly address?: string
  readonly code?: string
  readonly facts?: Readonly<Record<string, unknown>>
}

export interface IssueOptions extends Options {
  readonly caller: readonly string[]
  readonly operation: readonly string[]
  readonly zone: readonly string[]
  readonly network: readonly string[]
  readonly reason: string
  readonly from?: string
  readonly until: string
}

export async function issueGrantCommand(options: IssueOptions): Promise<void> {
  assertReach(options)
  const { caller, operation, zone, network, reason, from, until } = options
  const body = {
    ...{ reason, callers: caller.map(urnOf), operations: operation, until: timeOf(until, '--until') },
    ...(from === undefined ? {} : { from: timeOf(from, '--from') }),
    ...(zone.length === 0 ? {} : { zones: zone }),
    ...(network.length === 0 ? {} : { networks: network }),
  }
  await withClient(options, (client) => tellOrHeld(options, () => client.post<Grant>(GRANTS, body), describe))
}

export const revokeGrantCommand = (grantId: string, { reason, ...options }: Options & { readonly reason: string }): Promise<unknown> =>
  show<Grant>(options, ['POST', `${GRANTS}/${uuidOf(grantId, 'a grant')}/revoke`, { reason }], describe)

export const showGrantCommand = (grantId: string, options: Options): Promise<unknown> =>
  show<Grant>(options, ['GET', `${GRANTS}/${uuidOf(grantId, 'a grant')}`], describe)

export const listGrantsCommand = ({ live, ...options }: Options & { readonly live?: boolean }): Promise<unknown> =>
  show<{ grants: readonly Grant[] }>(options, ['GET', `${GRANTS}?live=${String(live === true)}`], ({ grants }) =>
    grants.length === 0 ? ['None.'] : grants.flatMap(describe),
  )

/** The grant, and every entry of the log whose decision it made. */
export async function reportGrantCommand(grantId: string, options: Options): Promise<void> {
  assertReach(options)
  const address = `${GRANTS}/${uuidOf(grantId, 'a grant')}/report`
  await withClient(options, async (client) => {
    const uses: Use[] = []
    for (let from = 0; ; ) {
      const page = await client.get<{ grant: Grant; uses: Use[] }>(`${address}?limit=${String(PAGE)}&from=${String(from)}`)
      uses.push(...page.uses)
      if (page.uses.length === PAGE) {
        from = (uses.at(-1)?.index ?? 0) + 1
        continue
      }
      return tell(options, { grant: page.grant, uses }, () => [
        ...describe(page.grant),
        ...(uses.length === 0 ? ['Nothing was done under it.'] : [`${String(uses.length)} entries of the log:`, ...uses.map(describeUse)]),
      ])
    }
  })
}

const urnOf = (caller: string): string => {
  if (!/^[a-z]+:[a-z0-9][a-z0-9._-]{0,55}$/.test(caller)) throw new CliError(`--caller: found ${caller}, expected kind:name, such as module:billing.`)
  return `urn:gridseal:${caller}`
}

const describe = (g: Grant): string[] => [
  `${g.grantId}  ${g.state}: ${g.reason}`,
  `  ${g.callers.map((urn) => urn.replace('urn:gridseal:', '')).join(', ')} may ${g.operations.join(', ')}`,
  `  from ${g.from} until ${g.until}${g.zones.length === 0 ? '' : `, from ${g.zones.join(', ')}`}${g.networks.length === 0 ? '' : `, from ${g.networks.join(', ')}`}`,
  `  issued by ${g.issuedBy} at ${g.issuedAt}`,
  ...(g.revoked === undefined ? [] : [`  revoked by ${g.revoked.by} at ${g.revoked.at}: ${g.revoked.reason}`]),
]

const describeUse = (use: Use): string =>
  `  ${use.time}  ${use.kind}${use.code === undefined ? '' : ` ${use.code}`}  ${use.operation}  ${use.caller.replace('urn:gridseal:', '')}${use.address === undefined ? '' : ` from ${use.address}`}  ${use.operationId}  ${JSON.stringify(use.facts ?? {})}`
