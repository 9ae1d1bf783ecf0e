import { Problem } from '../core/problem.ts'
import { classify, DETAILS } from './errors.ts'
import { LaneKeys } from './lane-keys.ts'
import type { Answer, Call, FromLane, LaneSettings, ToLane } from './lane-message.ts'
import { wipeSecret } from './otp-secret.ts'
import { identify } from './root-handles.ts'
import type { GenerationsInUse } from './root-key-generations.ts'
import { identityFault } from './root-keys.ts'
import { CKA } from './templates.ts'
import { Token, TokenAway } from './token.ts'
import { withTypedPins } from './typed-pins.ts'
import type { Verb } from './verbs.ts'

/** A sign of life this often; one in five looks at the token first. */
const ALIVE_MS = 100
const LOOK_EVERY = 5

const send = (message: FromLane): Promise<void> => new Promise((resolve) => void process.send?.(message, () => resolve()))
/** Says why, and ends. No call is begun any more, also where it has come already. */
const end = (reason: string): Promise<never> => {
  isEnding = true
  return send({ kind: 'ends', reason }).then(() => process.exit(1))
}
let isEnding = false

/**
 * A lane, in its own process: opens the token once, then answers calls of the verbs it was built with, one after another.
 * It ends when the service goes away, and when the token does: a lane is replaced and never repaired beyond one new session.
 */
export function runLane(verbs: Readonly<Record<string, Verb>>): void {
  let keys: LaneKeys | undefined
  /** Told while the lane was opening: it waits for a PIN. */
  let told: GenerationsInUse | undefined
  process.on('disconnect', () => process.exit(0))
  // A Ctrl-C goes to the whole group; the service still needs its lanes to close what is open.
  process.on('SIGINT', () => undefined)
  process.on('SIGTERM', () => undefined)
  process.on('message', (message: ToLane) => {
    if (message.kind === 'open') {
      void withTypedPins(message.settings, open).then((opened) => {
        keys = opened
        if (told !== undefined) use(keys, told)
      }, fail)
    } else if (message.kind === 'use') {
      told = message.inUse
      use(keys, told)
    }
    if (message.kind === 'calls' && keys !== undefined && !isEnding) void answerAll(keys, verbs, message.id, message.calls)
  })
}

function open(settings: LaneSettings): LaneKeys | undefined {
  try {
    const keys = new LaneKeys(Token.open(settings, settings.pinSource, { writable: false }), settings.cachedKeys, settings.inUse)
    const fault = settings.identity && identityFault(settings.identity, identify(keys.token, keys.roots))
    if (fault !== undefined) throw new TokenAway(fault)
    let ticks = 0
    setInterval(() => {
      const away = ++ticks % LOOK_EVERY === 0 ? whyAway(keys) : undefined
      void (away === undefined ? signOfLife(keys) : end(away))
    }, ALIVE_MS)
    void send({ kind: 'ready' })
    return keys
  } catch (error) {
    void end(classify(error).reason)
    return undefined
  }
}

const fail = (error: unknown): void => void end(classify(error).reason)

/** A lane that cannot take them ends; its successor is opened with them. */
function use(keys: LaneKeys | undefined, inUse: GenerationsInUse): void {
  try {
    keys?.use(inUse)
  } catch (error) {
    void end(classify(error).reason)
  }
}

const signOfLife = ({ token }: LaneKeys): Promise<void> => {
  signedAt = performance.now()
  return send({ kind: 'alive', made: token.made })
}
let signedAt = 0

/** Whether the slot still holds the token and the token its keys: a session and its objects can outlive a token that was taken away. */
function whyAway(keys: LaneKeys): string | undefined {
  try {
    keys.token.assertPresent()
    keys.token.read(keys.roots.blindIndex, CKA.LABEL)
    return undefined
  } catch (error) {
    return classify(error).reason
  }
}

interface Answered {
  readonly answer: Answer
  /** Why the lane ends after it. */
  readonly ends?: string
}

/** Without a pause between calls that need none: else the next message, if it has come already, would be worked off before this one is answered. */
async function answerAll(keys: LaneKeys, verbs: Readonly<Record<string, Verb>>, id: number, calls: readonly Call[]): Promise<void> {
  const answers: Answer[] = []
  let ending: string | undefined
  for (const call of calls) {
    const running = ending === undefined ? run(keys, verbs, call) : { answer: AWAY, ends: ending }
    const { answer, ends }: Answered = running instanceof Promise ? await running : running
    answers.push(answer)
    ending = ends
    isEnding ||= ends !== undefined
    // A token that is slow is not taken for one that hangs.
    if (performance.now() - signedAt > 2 * ALIVE_MS) void signOfLife(keys)
  }
  await send({ kind: 'answers', id, answers })
  for (const answer of answers) if (answer.ok) wipeSecret(answer.value)
  if (ending !== undefined) await end(ending)
}

const AWAY: Answer = { ok: false, problem: 'hsm-unavailable', detail: DETAILS['hsm-unavailable'], reason: 'the lane ends after an earlier call' }

/** At once, or of a verb that yields when it is done. */
function run(keys: LaneKeys, verbs: Readonly<Record<string, Verb>>, call: Call, again = true): Answered | Promise<Answered> {
  const verb = Object.hasOwn(verbs, call.verb) ? verbs[call.verb] : undefined
  const failed = (error: unknown): Answered | Promise<Answered> => {
    if (error instanceof Problem) return { answer: { ok: false, problem: error.code, detail: error.detail, reason: error.detail } }
    const { problem, remedy, reason } =
      error instanceof TokenAway ? { problem: 'hsm-unavailable' as const, remedy: 'new lane' as const, reason: error.message } : classify(error)
    if (remedy === 'another session' && again && reopened(keys)) return run(keys, verbs, call, false)
    const answer: Answer = { ok: false, problem, detail: DETAILS[problem], reason: `${call.verb}: ${reason}` }
    return remedy === 'give up' ? { answer } : { answer, ends: reason }
  }
  try {
    if (verb === undefined) throw new Error('there is no such verb')
    const value = verb(keys, call.args as never)
    return value instanceof Promise ? value.then(answered, failed) : answered(value)
  } catch (error) {
    return failed(error)
  }
}

const answered = (value: unknown): Answered => ({ answer: { ok: true, value } })

function reopened(keys: LaneKeys): boolean {
  try {
    keys.token.reopenSession()
    keys.forget()
    return true
  } catch {
    return false
  }
}
