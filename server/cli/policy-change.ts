import type { ApiClient } from '../../clients/api.ts'
import { type AskOptions as Options, show, uuidOf } from './api-command.ts'
import { CliError } from './cli-error.ts'
import type { Explanation } from '../../policies/firewall/index.ts'
import { describeChange, describeExplanation } from './policy.ts'
import { askOrHeld } from './hold.ts'
import { assertReach, readText, withClient } from './with-client.ts'

const REVISIONS = '/v1/policies/revisions'

interface Activation {
  readonly number: number
  readonly revision: string
  readonly state: string
  readonly reason: string
  readonly activatedBy: string
  readonly activatedAt: string
  readonly confirmBy?: string
}

const describeActivation = (a: Activation): readonly string[] => [
  `${String(a.number).padEnd(6)}${a.revision}  ${a.state.padEnd(12)}${a.activatedAt}  ${a.activatedBy}  ${a.reason}`,
  ...(a.state === 'trial' ? [`      on trial until ${a.confirmBy ?? ''}: gridseal policy confirm ${String(a.number)} ...`] : []),
]

/** The text of the policy that decides now. */
async function textInForce(client: ApiClient): Promise<string> {
  const { activations } = await client.get<{ activations: readonly Activation[] }>(REVISIONS)
  const counts = activations.find(({ state }) => state !== 'rolled-back')
  if (counts === undefined) throw new CliError('The service names no policy in force.')
  return (await client.get<Revision>(revisionPath(counts.revision))).text
}

/** What a held change of the policy would be, worked out here and not by the service. */
export async function reviewCommand(id: string, options: Options): Promise<void> {
  assertReach(options)
  const holdId = uuidOf(id, 'a held request')
  const { held, before } = await withClient(options, async (client) => ({
    held: await client.get<{ operation: string; state: string; digest: string; requester: string; input?: { text?: string; reason?: string } }>(
      `/v1/policies/holds/${holdId}`,
    ),
    before: await textInForce(client),
  }))
  const text = held.input?.text
  if (held.operation !== 'policies.revision.activate' || text === undefined)
    throw new CliError(`${holdId} is no change of the policy that waits: ${held.operation}, ${held.state}.`)
  const change = describeChange(before, text)
  if (options.json === true)
    return console.log(JSON.stringify({ holdId, requester: held.requester, reason: held.input?.reason, digest: held.digest, change }, undefined, 2))
  console.log(
    [`${held.requester}: ${held.input?.reason ?? ''}`, change, '---', `approve  gridseal policy approve ${holdId} --digest ${held.digest} ...`].join('\n'),
  )
}

/** Says what the change would be, then sends the policy in: it is checked by the service, and held until others have approved it. */
export async function proposeCommand(
  file: string,
  { reason, within, ...options }: Options & { readonly reason: string; readonly within: string },
): Promise<void> {
  const confirmWithinSeconds = Number(within)
  if (!Number.isInteger(confirmWithinSeconds)) throw new CliError('--within is a number of seconds.')
  const text = readText(file)
  assertReach(options)
  const holdId = await withClient(options, async (client) => {
    if (options.json !== true) console.log(`${describeChange(await textInForce(client), text)}\n`)
    const asked = await askOrHeld(() => client.post<object>(REVISIONS, { text, reason, confirmWithinSeconds }))
    if ('holdId' in asked) return asked.holdId
    throw new CliError('The service put it to work without an approval. That is not as it should be: look at its version.')
  })
  if (options.json === true) return console.log(JSON.stringify({ holdId }))
  console.log(
    [
      'It is read and tested, and waits for approval:',
      `  another officer   gridseal policy review ${holdId} ..., then gridseal policy approve ${holdId} --digest ...`,
      `  then you          gridseal hold run ${holdId} ...: from then on it is on trial for ${within} s`,
    ].join('\n'),
  )
}

export const confirmCommand = (number: string, options: Options): Promise<unknown> =>
  show<Activation>(options, ['POST', `${REVISIONS}/${numberOf(number)}/confirm`], describeActivation)

export const rollBackCommand = (number: string, { reason, ...options }: Options & { readonly reason: string }): Promise<unknown> =>
  show<Activation>(options, ['POST', `${REVISIONS}/${numberOf(number)}/roll-back`, { reason }], describeActivation)

function numberOf(text: string): string {
  if (!/^[1-9]\d{0,9}$/.test(text)) throw new CliError(`${text} is not the number of an activation. See: gridseal policy history`)
  return text
}

export const historyCommand = (options: Options): Promise<unknown> =>
  show<{ activations: readonly Activation[]; nodes: readonly { node: string; number: number; renewedAt: string }[] }>(
    options,
    ['GET', REVISIONS],
    ({ activations, nodes }) => [
      ...activations.flatMap(describeActivation),
      ...nodes.map(({ node, number, renewedAt }) => `node  ${node} decides by ${String(number)}, heard from at ${renewedAt}`),
    ],
  )

interface Revision {
  readonly text: string
  readonly hits: readonly { readonly rule: string; readonly hits: number; readonly firstAt: string; readonly lastAt: string }[]
}

const revisionPath = (revision: string): string => {
  if (!/^[0-9a-f]{16}$/.test(revision)) throw new CliError(`${revision} is not a revision: 16 hex digits, as decisions name it.`)
  return `${REVISIONS}/${revision}`
}

export const textCommand = (revision: string, options: Options): Promise<unknown> =>
  show<Revision>(options, ['GET', revisionPath(revision)], ({ text }) => [text.trimEnd()])

export const hitsCommand = (revision: string, options: Options): Promise<unknown> =>
  show<Revision>(options, ['GET', revisionPath(revision)], ({ hits }) =>
    hits.length === 0
      ? ['No rule of it has decided yet.']
      : hits.map(({ rule, hits: count, firstAt, lastAt }) => `${String(count).padStart(10)}  ${rule}  ${firstAt} to ${lastAt}`),
  )

/** Why a request was decided as it was, by the policy of then. */
export const whyCommand = (operationId: string, options: Options): Promise<unknown> =>
  show<Explanation>(options, ['POST', '/v1/policies/explain', { operationId: uuidOf(operationId, 'an operation') }], (told) => [describeExplanation(told)])

interface Rerun {
  readonly revision: string
  readonly recorded: { readonly effect: string; readonly rule: string; readonly code?: string }
  readonly rerun: { readonly effect: string; readonly rule: string }
  readonly agrees: boolean
}

/** Exit code 1 where the decision is another one now. */
export async function rerunCommand(operationId: string, options: Options): Promise<void> {
  const { agrees } = await show<Rerun>(
    options,
    ['GET', `/v1/policies/decisions/${uuidOf(operationId, 'an operation')}/rerun`],
    ({ revision, recorded, rerun, agrees: isSame }) => {
      return [
        `the log says      ${recorded.effect} by ${recorded.rule}${recorded.code === undefined ? '' : ` (${recorded.code})`}`,
        `revision ${revision} says  ${rerun.effect} by ${rerun.rule}`,
        isSame ? 'The same.' : 'NOT THE SAME: the entry, the policy or the service was changed.',
      ]
    },
  )
  if (!agrees) process.exitCode = 1
}
