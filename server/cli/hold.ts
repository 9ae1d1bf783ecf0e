import { ApiProblem } from '../../clients/api.ts'
import { type AskOptions as Options, show, tell, uuidOf } from './api-command.ts'

export const HOLDS = '/v1/policies/holds'

interface Hold {
  readonly holdId: string
  readonly operation: string
  readonly requester: string
  readonly digest: string
  readonly facts: Readonly<Record<string, unknown>>
  readonly rule: string
  readonly approvals: { readonly needed: number; readonly of: readonly string[]; readonly given: readonly { readonly approver: string; readonly at: string }[] }
  readonly deadline: string
  readonly state: string
  readonly reason?: string
  readonly input?: unknown
}

const describeHold = (h: Hold): readonly string[] => [
  `${h.holdId}  ${h.state.padEnd(10)}${h.operation} for ${h.requester}`,
  `  held by ${h.rule}; ${String(h.approvals.given.length)} of ${String(h.approvals.needed)} (${h.approvals.of.join(', ')}) approved${h.approvals.given.map(({ approver }) => ` ${approver}`).join(',')}; until ${h.deadline}`,
  `  would do ${JSON.stringify(h.facts)}`,
  ...(h.reason === undefined ? [] : [`  because ${h.reason}`]),
]

export const listHoldsCommand = ({ mine, state, ...options }: Options & { readonly mine?: boolean; readonly state?: string }): Promise<unknown> =>
  show<{ holds: readonly Hold[] }>(
    options,
    ['GET', `${HOLDS}?mine=${String(mine === true)}${state === undefined ? '' : `&state=${encodeURIComponent(state)}`}`],
    ({ holds }) => (holds.length === 0 ? ['Nothing is held.'] : holds.flatMap(describeHold)),
  )

/** The input as it was sent: texts as they are, so that a policy can be read, and compared with `gridseal policy diff`. */
export const showHoldCommand = (holdId: string, options: Options): Promise<unknown> =>
  show<Hold>(options, ['GET', `${HOLDS}/${uuidOf(holdId, 'a held request')}`], (h) => {
    const fields = typeof h.input === 'object' && h.input !== null ? Object.entries(h.input) : []
    return [
      ...describeHold(h),
      ...fields.flatMap(([name, value]) => [`--- ${name}`, typeof value === 'string' ? value : JSON.stringify(value, undefined, 2)]),
      ...(h.state === 'waiting' ? ['---', `approve  gridseal hold approve ${h.holdId} --digest ${h.digest} ...`] : []),
    ]
  })

export const approveHoldCommand = (holdId: string, { digest, ...options }: Options & { readonly digest: string }): Promise<unknown> =>
  show<Hold>(options, ['POST', `${HOLDS}/${uuidOf(holdId, 'a held request')}/approve`, { digest }], describeHold)

export const refuseHoldCommand = (holdId: string, { reason, ...options }: Options & { readonly reason: string }): Promise<unknown> =>
  show<Hold>(options, ['POST', `${HOLDS}/${uuidOf(holdId, 'a held request')}/refuse`, { reason }], describeHold)

export const withdrawHoldCommand = (holdId: string, options: Options): Promise<unknown> =>
  show<Hold>(options, ['POST', `${HOLDS}/${uuidOf(holdId, 'a held request')}/withdraw`], describeHold)

/** Prints what the operation answers. */
export const runHoldCommand = (holdId: string, options: Options): Promise<unknown> =>
  show<unknown>(options, ['POST', `${HOLDS}/${uuidOf(holdId, 'a held request')}/run`], (answer) => [JSON.stringify(answer, undefined, 2)])

/** What another officer has to approve first is no failure: the answer, or the id of the held request. */
export async function askOrHeld<Answer extends object>(ask: () => Promise<Answer>): Promise<{ readonly answer: Answer } | { readonly holdId: string }> {
  try {
    return { answer: await ask() }
  } catch (error) {
    if (!(error instanceof ApiProblem) || error.code !== 'held') throw error
    return { holdId: error.instance.replace('urn:uuid:', '') }
  }
}

/** Prints what a request answers, or how it goes on where another officer has to approve it first. */
export async function tellOrHeld<Answer extends object>(
  options: Pick<Options, 'json'>,
  ask: () => Promise<Answer>,
  lines: (answer: Answer) => readonly string[],
): Promise<void> {
  const asked = await askOrHeld(ask)
  if ('holdId' in asked) tell(options, asked, ({ holdId }) => heldLines(holdId))
  else tell(options, asked.answer, lines)
}

/** What is told of a request that waits for another officer. */
export const heldLines = (holdId: string, run = `gridseal hold run ${holdId} ...`): readonly string[] => [
  'It waits for another officer:',
  `  another officer   gridseal hold show ${holdId} ..., then gridseal hold approve ${holdId} --digest ...`,
  `  then you          ${run}`,
]
