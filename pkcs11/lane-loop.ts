import { Problem } from '../core/problem.ts'
import { classify, DETAILS } from './errors.ts'
import { LaneKeys } from './lane-keys.ts'
import type { Answer, Call, FromLane, LaneSettings, ToLane } from './lane-message.ts'
import { SYSTEM_KEYS } from './root-keys.ts'
import { CKA } from './templates.ts'
import { Token, TokenAway } from './token.ts'
import type { Verb } from './verbs.ts'

const CHECK_MS = 500
const EXIT_TOKEN_AWAY = 3

const send = (message: FromLane): Promise<void> => new Promise((resolve) => void process.send?.(message, () => resolve()))

/**
 * A lane, in its own process: opens the token once, then answers calls of the verbs it was built with, one after another.
 * It ends when the service goes away, and when the token does: a lane is replaced and never repaired beyond one new session.
 */
export function runLane(verbs: Readonly<Record<string, Verb>>): void {
  let keys: LaneKeys | undefined
  process.on('disconnect', () => process.exit(0))
  // A Ctrl-C goes to the whole group; the service still needs its lanes to close what is open.
  process.on('SIGINT', () => undefined)
  process.on('SIGTERM', () => undefined)
  process.on('message', (message: ToLane) => {
    if (message.kind === 'open') keys = open(message.settings)
    else if (keys !== undefined) void answerAll(keys, verbs, message.id, message.calls)
  })
}

function open(settings: LaneSettings): LaneKeys | undefined {
  try {
    const keys = new LaneKeys(Token.open(settings, settings.pinFile, { writable: false }), settings.cachedKeys)
    setInterval(() => isPresent(keys) || process.exit(EXIT_TOKEN_AWAY), CHECK_MS)
    void send({ kind: 'ready', serial: keys.token.serial })
    return keys
  } catch (error) {
    void send({ kind: 'refused', reason: classify(error).reason }).then(() => process.exit(1))
    return undefined
  }
}

/** Whether the slot still holds the token and the token its keys: a session and its objects can outlive a token that was taken away. */
function isPresent(keys: LaneKeys): boolean {
  try {
    keys.token.assertPresent()
    keys.token.read(keys.macKey(SYSTEM_KEYS.rowMac), CKA.LABEL)
    return true
  } catch {
    return false
  }
}

interface Answered {
  readonly answer: Answer
  /** The lane ends after it. */
  readonly last: boolean
}

async function answerAll(keys: LaneKeys, verbs: Readonly<Record<string, Verb>>, id: number, calls: readonly Call[]): Promise<void> {
  const answers: Answer[] = []
  let end = false
  for (const call of calls) {
    const { answer, last }: Answered = end ? { answer: AWAY, last: true } : await run(keys, verbs, call)
    answers.push(answer)
    end = last
  }
  await send({ kind: 'answers', id, answers })
  if (end) process.exit(EXIT_TOKEN_AWAY)
}

const AWAY: Answer = { ok: false, problem: 'hsm-unavailable', detail: DETAILS['hsm-unavailable'], reason: 'the lane ends after an earlier call' }

async function run(keys: LaneKeys, verbs: Readonly<Record<string, Verb>>, call: Call, again = true): Promise<Answered> {
  const verb = Object.hasOwn(verbs, call.verb) ? verbs[call.verb] : undefined
  try {
    if (verb === undefined) throw new Error('there is no such verb')
    return { answer: { ok: true, value: await verb(keys, call.args as never) }, last: false }
  } catch (error) {
    if (error instanceof Problem) return { answer: { ok: false, problem: error.code, detail: error.detail, reason: error.detail }, last: false }
    const { problem, remedy, reason } =
      error instanceof TokenAway ? { problem: 'hsm-unavailable' as const, remedy: 'new lane' as const, reason: error.message } : classify(error)
    if (remedy === 'another session' && again && reopened(keys)) return run(keys, verbs, call, false)
    return { answer: { ok: false, problem, detail: DETAILS[problem], reason: `${call.verb}: ${reason}` }, last: remedy !== 'give up' }
  }
}

function reopened(keys: LaneKeys): boolean {
  try {
    keys.token.reopenSession()
    keys.forget()
    return true
  } catch {
    return false
  }
}
