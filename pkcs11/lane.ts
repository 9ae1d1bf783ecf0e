import type { ChildProcess } from 'node:child_process'
import { setTimeout as sleep } from 'node:timers/promises'
import { Problem } from '../core/problem.ts'
import { type ChildEnvironment, forkEntry } from './child.ts'
import { problemOf, unavailable } from './errors.ts'
import type { Answer, Call, FromLane, LaneSettings, ToLane } from './lane-message.ts'
import type { VerbArguments, VerbName, VerbResult } from './verbs.ts'

export interface LaneOptions {
  readonly entry: URL
  readonly environment: ChildEnvironment
  readonly settings: LaneSettings
  /** How long a message may take before its lane is killed. Default 10,000. */
  readonly deadlineMs?: number
}

interface Pending {
  readonly call: Call
  readonly weight: number
  readonly resolve: (value: unknown) => void
  readonly reject: (problem: Problem) => void
}

interface Sent {
  readonly pending: readonly Pending[]
  readonly timer: NodeJS.Timeout
  readonly alone: boolean
}

const START_ATTEMPTS = 3
const FIRST_PAUSE_MS = 50
const LONGEST_PAUSE_MS = 2_000
const OPEN_MS = 20_000
/** Messages under way at once. Two keep the lane busy; more would only make batches smaller. */
const DEPTH = 2
/** The weight that a second message is worth sending for: what weighs less gathers until the first is answered, since each message costs both processes a wake-up. */
const WORTH = 64
/** What goes in one message, counted in signatures (50 microseconds each), so that none is near its deadline or holds the next one up for long. */
const MOST_WEIGHT = 128
/** Calls lighter than this go before the others, so that the MAC that ends an operation does not wait behind the batches of those that begin. */
const LIGHT = 16

export interface CallOptions {
  /** In a message of its own, one at a time, that does not hold others up: for calls that yield. Default false. */
  readonly alone?: boolean
  /** About how many signatures' time it takes. Default 1. */
  readonly weight?: number
}

/**
 * The service's side of one lane: starts the process, batches calls, kills it when a message is over its deadline, and starts another,
 * with growing pauses, for as long as it is not closed. Callers of a lane that is not there get `hsm-unavailable` at once.
 */
export class Lane {
  readonly #options: LaneOptions
  #child: ChildProcess | undefined
  #state: 'down' | 'starting' | 'ready' | 'closed' = 'down'
  #queue: Pending[] = []
  #long: Pending[] = []
  #flushPlanned = false
  readonly #sent = new Map<number, Sent>()
  #nextId = 0
  #pauseMs = FIRST_PAUSE_MS
  #timer: NodeJS.Timeout | undefined
  #reason = 'the lane has not started'
  #starts = 0
  #deadlines = 0

  constructor(options: LaneOptions) {
    this.#options = options
  }

  get isReady(): boolean {
    return this.#state === 'ready'
  }

  /** What waits for an answer, by weight. */
  get load(): number {
    const sent = [...this.#sent.values()].flatMap(({ pending }) => pending)
    return weightOf(this.#queue) + weightOf(this.#long) + weightOf(sent)
  }

  /** How often a process was started after the first, and how often one was killed at its deadline. */
  get counts(): { readonly restarts: number; readonly deadlines: number } {
    return { restarts: Math.max(0, this.#starts - 1), deadlines: this.#deadlines }
  }

  /** The process id, for tests that kill it. */
  get pid(): number | undefined {
    return this.#child?.pid
  }

  /**
   * Starts the process. Rejects with why the token refuses it; then nothing is tried again. A token that is not there is looked for a few times: SoftHSM
   * skips one while another process's login is writing its flags, and never looks again.
   */
  async start(): Promise<void> {
    for (let attempt = 1; ; attempt++) {
      try {
        await this.#spawn()
        return
      } catch (error) {
        clearTimeout(this.#timer)
        // Never again for another reason: a PIN that is wrong three times locks a token.
        if (attempt === START_ATTEMPTS || !this.#reason.startsWith('TokenAway')) {
          await this.close()
          throw error
        }
        await sleep(FIRST_PAUSE_MS)
      }
    }
  }

  /** One call of a verb. All that is asked in one turn of the event loop goes in one message. */
  call<Name extends VerbName>(verb: Name, args: VerbArguments<Name>, { alone = false, weight = 1 }: CallOptions = {}): Promise<VerbResult<Name>> {
    return new Promise<unknown>((resolve, reject) => {
      if (this.#state !== 'ready') return reject(unavailable(this.#reason))
      const pending = { call: { verb, args }, weight, resolve, reject }
      if (alone) this.#long.push(pending)
      else this.#queue.push(pending)
      this.#planFlush()
      return undefined
    }) as Promise<VerbResult<Name>>
  }

  async close(): Promise<void> {
    this.#state = 'closed'
    clearTimeout(this.#timer)
    const child = this.#child
    this.#failAll('the lane is closed')
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return
    await new Promise<void>((resolve) => {
      const kill = setTimeout(() => child.kill('SIGKILL'), 1_000)
      child.once('exit', () => {
        clearTimeout(kill)
        resolve()
      })
      if (child.connected) child.disconnect()
    })
  }

  #planFlush(): void {
    if (this.#flushPlanned) return
    this.#flushPlanned = true
    setImmediate(() => {
      this.#flushPlanned = false
      this.#flush()
    })
  }

  #flush(): void {
    // Long calls one after another: two at a time would end at the same time, and leave the lane idle while their outcomes are written.
    if (this.#long.length > 0 && this.#state === 'ready' && ![...this.#sent.values()].some(({ alone }) => alone)) this.#send(this.#long.splice(0, 1), true)
    while (this.#queue.length > 0 && this.#state === 'ready') {
      let underWay = 0
      for (const { alone } of this.#sent.values()) if (!alone) underWay++
      if (underWay >= DEPTH || (underWay > 0 && weightOf(this.#queue) < WORTH)) return // the next answer flushes
      this.#send(this.#takeNext(), false)
    }
  }

  /** The next message: light calls, then the others in the order they came; of each at least one. */
  #takeNext(): Pending[] {
    const light = this.#queue.filter(({ weight }) => weight < LIGHT)
    const heavy = this.#queue.filter(({ weight }) => weight >= LIGHT)
    const taken = takeFitting(light, MOST_WEIGHT)
    taken.push(...takeFitting(heavy, MOST_WEIGHT - weightOf(taken)))
    this.#queue = [...light, ...heavy]
    return taken
  }

  #send(pending: readonly Pending[], alone: boolean): void {
    const id = this.#nextId++
    const timer = setTimeout(() => {
      this.#deadlines++
      this.#child?.kill('SIGKILL')
    }, this.#options.deadlineMs ?? 10_000)
    this.#sent.set(id, { pending, timer, alone })
    this.#post({ kind: 'calls', id, calls: pending.map(({ call }) => call) })
  }

  #post(message: ToLane): void {
    this.#child?.send(message, () => undefined) // a failed send shows as the exit of the process
  }

  #spawn(): Promise<void> {
    this.#starts++
    this.#state = 'starting'
    const child = forkEntry(this.#options.entry, this.#options.environment)
    this.#child = child
    return new Promise((resolve, reject) => {
      const slow = setTimeout(() => child.kill('SIGKILL'), OPEN_MS)
      child.on('message', (message: FromLane) => {
        if (child !== this.#child) return
        if (message.kind === 'answers') return this.#settle(message.id, message.answers)
        clearTimeout(slow)
        if (message.kind === 'refused') {
          this.#reason = message.reason
          return undefined // its exit follows
        }
        this.#state = 'ready'
        this.#pauseMs = FIRST_PAUSE_MS
        this.#reason = 'the lane died and another is starting'
        return resolve()
      })
      child.on('error', () => child.kill('SIGKILL'))
      child.once('exit', () => {
        clearTimeout(slow)
        if (child !== this.#child || this.#state === 'closed') return reject(unavailable(this.#reason))
        const wasReady = this.#state === 'ready'
        this.#state = 'down'
        this.#failAll(this.#reason)
        if (!wasReady) reject(unavailable(this.#reason))
        // A PIN that the token refused is not tried again: a few of these lock it. A person mends the PIN file and starts the service again.
        return this.#reason.includes('CKR_PIN_') ? undefined : this.#respawnLater()
      })
      this.#post({ kind: 'open', settings: this.#options.settings })
    })
  }

  #respawnLater(): void {
    this.#timer = setTimeout(() => void this.#spawn().catch(() => undefined), this.#pauseMs)
    this.#pauseMs = Math.min(2 * this.#pauseMs, LONGEST_PAUSE_MS)
  }

  #settle(id: number, answers: readonly Answer[]): void {
    const sent = this.#sent.get(id)
    if (sent === undefined) return
    this.#sent.delete(id)
    clearTimeout(sent.timer)
    sent.pending.forEach(({ resolve, reject }, at) => {
      const answer = answers[at]
      if (answer === undefined) reject(unavailable('the lane gave no answer'))
      else if (answer.ok) resolve(answer.value)
      else
        reject(
          answer.problem === 'hsm-unavailable' || answer.problem === 'hsm-failed'
            ? problemOf({ problem: answer.problem, reason: answer.reason })
            : new Problem(answer.problem, answer.detail),
        )
    })
    this.#flush()
  }

  #failAll(reason: string): void {
    const waiting = [...this.#queue, ...this.#long, ...[...this.#sent.values()].flatMap(({ pending }) => pending)]
    for (const { timer } of this.#sent.values()) clearTimeout(timer)
    this.#queue = []
    this.#long = []
    this.#sent.clear()
    for (const { reject } of waiting) reject(unavailable(reason))
  }
}

const weightOf = (list: readonly Pending[]): number => list.reduce((sum, { weight }) => sum + weight, 0)

/** Takes as many of the first calls out of the list as weigh `room` together, and at least one. */
function takeFitting(list: Pending[], room: number): Pending[] {
  let [count, left] = [0, room]
  for (const { weight } of list) {
    if (count > 0 && weight > left) break
    left -= weight
    count++
  }
  return list.splice(0, count)
}
