import type { ChildProcess } from 'node:child_process'
import { setTimeout as sleep } from 'node:timers/promises'
import { Problem } from '../core/problem.ts'
import { type ChildEnvironment, forkEntry } from './child.ts'
import { unavailable } from './errors.ts'
import type { Answer, FromLane, LaneSettings, ToLane } from './lane-message.ts'
import { LaneQueue, type Waiting, weightOf } from './lane-queue.ts'
import { type GenerationsInUse, identityInUse } from './root-key-generations.ts'
import type { TokenIdentity } from './root-keys.ts'
import type { PinAsked } from './typed-pins.ts'
import type { VerbArguments, VerbName, VerbResult } from './verbs.ts'

export interface LaneOptions {
  readonly entry: URL
  readonly environment: ChildEnvironment
  readonly settings: LaneSettings
  /** How long a lane may give no sign of life before it is killed, and a call may wait before it is refused. Default 5,000. */
  readonly deadlineMs?: number
  /** The weight of waiting calls at which a lane takes no more. Default 100,000: some 5 seconds of signatures. */
  readonly mostWaiting?: number
  /** Session objects after which a process is exchanged for a fresh one. Default 500,000. */
  readonly mostMade?: number
}

/** What a lane tells those who share the work among lanes. */
export interface LaneListener {
  /** Its {@link Lane.status} is another one. */
  onStatus(): void
  /** Calls that it has not begun, and now will not soon: of a lane that has stalled or ended. Gives back those that nobody else can take. */
  onStranded(calls: readonly Waiting[]): readonly Waiting[]
}

/** `stalled`: it has given no sign of life for a while, and may yet. `renewing`: it is well, and its process is exchanged for a fresh one; calls wait for that. */
export type LaneState = 'starting' | 'ready' | 'stalled' | 'renewing' | 'down' | 'closed'

export interface LaneStatus {
  readonly state: LaneState
  readonly since: Date
  /** Why it is not ready: for the service's own log. */
  readonly reason: string
}

interface Sent {
  readonly calls: readonly Waiting[]
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
/** How often a lane's signs of life are looked at. It gives one as often: see lane-loop.ts. */
const WATCH_MS = 100
/**
 * Session objects after which a process is exchanged for a fresh one: SoftHSM 2.6.1 keeps some 190 bytes of each for good, so that this bounds a lane's
 * memory to 100 MB more than it begins with.
 */
const MOST_MADE = 500_000
/** How long without one until others get its work: longer than any message takes with a token that is well. */
const STALL_MS = 400

export interface CallOptions {
  /** In a message of its own, one at a time, that does not hold others up: for calls that yield. Default false. */
  readonly alone?: boolean
  /** About how many signatures' time it takes. Default 1. */
  readonly weight?: number
}

/**
 * The service's side of one lane: starts the process, batches calls, replaces it when it ends or gives no sign of life, and goes on trying, with growing
 * pauses, for as long as it is not closed. Callers of a lane that is not there get `hsm-unavailable` at once; of one that dies, those whose calls it had.
 */
export class Lane {
  readonly #options: LaneOptions
  readonly #listener: LaneListener
  readonly #deadlineMs: number
  readonly #queue: LaneQueue
  readonly #sent = new Map<number, Sent>()
  #sentWeight = 0
  #settings: LaneSettings
  #child: ChildProcess | undefined
  #status: LaneStatus = { state: 'down', since: new Date(), reason: 'the lane has not started' }
  #flushPlanned = false
  #nextId = 0
  #pauseMs = FIRST_PAUSE_MS
  #respawn: NodeJS.Timeout | undefined
  #watch: NodeJS.Timeout | undefined
  /** Looks in a row that found no sign of life. */
  #silent = 0
  /** Session objects that the process has made. */
  #made = 0
  #starts = 0
  #deadlines = 0

  constructor(options: LaneOptions, listener: LaneListener) {
    this.#options = options
    this.#listener = listener
    this.#settings = options.settings
    this.#deadlineMs = options.deadlineMs ?? 5_000
    this.#queue = new LaneQueue(options.mostWaiting ?? 100_000)
  }

  get status(): LaneStatus {
    return this.#status
  }

  /** Whether it takes calls. */
  get isReady(): boolean {
    return this.#isWorking || this.#status.state === 'renewing'
  }

  get #isWorking(): boolean {
    return this.#status.state === 'ready' || this.#status.state === 'stalled'
  }

  /** What waits for an answer, by weight. */
  get load(): number {
    return this.#queue.weight + this.#sentWeight
  }

  /** How often a process was started after the first, and how often one was killed because it gave no sign of life. */
  get counts(): { readonly restarts: number; readonly deadlines: number } {
    return { restarts: Math.max(0, this.#starts - 1), deadlines: this.#deadlines }
  }

  /** The process id, for tests that kill it. */
  get pid(): number | undefined {
    return this.#child?.pid
  }

  /** From the next process on the token must be this one, with these root keys. */
  pin(identity: TokenIdentity): void {
    this.#settings = { ...this.#settings, identity }
  }

  /** From the next call on, and in every later process. */
  use(inUse: GenerationsInUse): void {
    const { identity } = this.#settings
    this.#settings = { ...this.#settings, inUse, ...(identity === undefined ? {} : { identity: identityInUse(identity, inUse) }) }
    this.#post({ kind: 'use', inUse })
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
        clearTimeout(this.#respawn)
        // Never again for another reason: a PIN that is wrong three times locks a token.
        if (attempt === START_ATTEMPTS || !this.#status.reason.startsWith('TokenAway')) {
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
      if (!this.isReady) return reject(unavailable(this.#status.reason))
      if (this.#queue.isFull) return reject(unavailable('the lane has too much waiting'))
      return this.take({ call: { verb, args }, weight, alone, since: performance.now(), resolve, reject })
    }) as Promise<VerbResult<Name>>
  }

  /** A call that another lane has not begun. */
  take(waiting: Waiting): void {
    this.#queue.add(waiting)
    this.#planFlush()
  }

  async close(): Promise<void> {
    const child = this.#child
    this.#end('closed', 'the lane is closed')
    clearTimeout(this.#respawn)
    if (child !== undefined) await dismissed(child)
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
    if (!this.#isWorking) return
    const underWay = [...this.#sent.values()]
    let shared = underWay.filter(({ alone }) => !alone).length
    // Long calls one after another: two at a time would end at the same time, and leave the lane idle while their outcomes are written.
    const long = shared === underWay.length ? this.#queue.takeAlone() : undefined
    if (long !== undefined) this.#send([long], true)
    while (this.#queue.hasShared) {
      if (shared >= DEPTH || (shared > 0 && this.#queue.sharedWeight < WORTH)) return // the next answer flushes
      this.#send(this.#queue.takeShared(), false)
      shared++
    }
  }

  #send(calls: readonly Waiting[], alone: boolean): void {
    const id = this.#nextId++
    this.#sent.set(id, { calls, alone })
    this.#sentWeight += weightOf(calls)
    this.#post({ kind: 'calls', id, calls: calls.map(({ call }) => call) })
  }

  #post(message: ToLane): void {
    this.#child?.send(message, () => undefined) // a failed send shows as the exit of the process
  }

  /** Resolves when the process is ready; rejects when it ends before. Afterwards it is replaced whenever it ends. */
  #spawn(): Promise<void> {
    this.#starts++
    if (this.#status.state !== 'renewing') this.#become('starting', this.#status.reason)
    const child = forkEntry(this.#options.entry, this.#options.environment)
    this.#child = child
    return new Promise((resolve, reject) => {
      const ended = (reason: string): void => {
        clearTimeout(slow)
        reject(unavailable(reason))
        if (child !== this.#child) return
        this.#end('down', reason)
        // A PIN that the token refused is not tried again: a few of these lock it. A person mends the PIN file and starts the service again.
        if (!reason.includes('CKR_PIN_')) this.#respawnLater()
      }
      /** Not waited for: a process that hangs in a driver does not even die. */
      const kill = (reason: string): void => {
        child.kill('SIGKILL')
        ended(reason)
      }
      const slow = setTimeout(() => kill(`the token did not open within ${OPEN_MS} ms`), OPEN_MS)
      let lastWords = 'the lane died and another is starting'
      child.on('message', (message: FromLane) => {
        if (child !== this.#child) return
        this.#silent = 0
        if (message.kind === 'alive') this.#made = message.made
        else if (message.kind === 'pin') this.#givePin(message, kill)
        else if (message.kind === 'answers') this.#settle(message.id, message.answers)
        else if (message.kind === 'ends') lastWords = message.reason
        else if (message.kind === 'ready') {
          clearTimeout(slow)
          this.#pauseMs = FIRST_PAUSE_MS
          clearInterval(this.#watch)
          this.#watch = setInterval(() => this.#look(kill), WATCH_MS)
          this.#become('ready', '')
          this.#planFlush()
          resolve()
        }
      })
      child.on('error', (error) => kill(`the lane's process failed: ${error.message}`))
      child.once('exit', () => ended(lastWords))
      this.#post({ kind: 'open', settings: this.#settings })
    })
  }

  /** Passed on as it is sealed: this process cannot read it. */
  #givePin({ holder, publicKey }: PinAsked, kill: (reason: string) => void): void {
    const { pins } = this.#options.environment
    if (pins === undefined) return kill('the lane asks for a PIN that nobody typed')
    pins.seal(holder, publicKey).then(
      (pin) => this.#post({ kind: 'pin', pin }),
      () => kill('the PIN that was typed is not there any more'),
    )
  }

  /** Looks for the lane's signs of life, and for calls that wait too long. */
  #look(kill: (reason: string) => void): void {
    // By looks and not by the clock: between two of them this process has read what the lane said, however long it stood still itself.
    const silentMs = this.#silent++ * WATCH_MS
    if (silentMs > this.#deadlineMs) {
      this.#deadlines++
      return kill(`the lane gave no sign of life for ${silentMs} ms`)
    }
    if (this.#status.state === 'renewing') return this.#exchange()
    if (this.#made >= (this.#options.mostMade ?? MOST_MADE)) return this.#renew()
    const state = silentMs > Math.min(STALL_MS, this.#deadlineMs / 3) ? 'stalled' : 'ready'
    if (state !== this.#status.state) {
      this.#become(state, state === 'stalled' ? 'a call to the token takes long' : '')
      if (state === 'stalled') this.#strand(this.#queue.takeAll(), (back) => this.#queue.add(back))
    }
    this.#refuseLate()
  }

  #refuseLate(): void {
    for (const { reject } of this.#queue.takeOlder(performance.now() - this.#deadlineMs)) reject(unavailable('the call waited too long for its lane'))
  }

  /** Ends the process once it has answered what it has, and starts the next; calls that come meanwhile go to other lanes, or wait. */
  #renew(): void {
    this.#become('renewing', 'the lane has made many objects')
    this.#strand(this.#queue.takeAll(), (back) => this.#queue.add(back))
    this.#exchange()
  }

  #exchange(): void {
    if (this.#sent.size > 0) return
    clearInterval(this.#watch)
    this.#watch = setInterval(() => this.#refuseLate(), WATCH_MS)
    this.#made = 0
    if (this.#child !== undefined) void dismissed(this.#child)
    void this.#spawn().catch(() => undefined)
  }

  #respawnLater(): void {
    this.#respawn = setTimeout(() => void this.#spawn().catch(() => undefined), this.#pauseMs)
    this.#pauseMs = Math.min(2 * this.#pauseMs, LONGEST_PAUSE_MS)
  }

  #settle(id: number, answers: readonly Answer[]): void {
    const sent = this.#sent.get(id)
    if (sent === undefined) return
    this.#sent.delete(id)
    this.#sentWeight -= weightOf(sent.calls)
    sent.calls.forEach(({ resolve, reject }, at) => {
      const answer = answers[at]
      if (answer === undefined) reject(unavailable('the lane gave no answer'))
      else if (answer.ok) resolve(answer.value)
      else reject(new Problem(answer.problem, answer.detail, { cause: new Error(answer.reason) }))
    })
    this.#flush()
  }

  /** The process is no more, or not ours any more. What it had may have happened or not: nobody else is given it. */
  #end(state: 'down' | 'closed', reason: string): void {
    clearInterval(this.#watch)
    this.#child = undefined
    this.#made = 0
    this.#become(state, reason)
    const begun = [...this.#sent.values()].flatMap(({ calls }) => calls)
    this.#sent.clear()
    this.#sentWeight = 0
    for (const { reject } of begun) reject(unavailable(reason))
    const waiting = this.#queue.takeAll()
    if (state === 'closed') for (const { reject } of waiting) reject(unavailable(reason))
    else this.#strand(waiting, ({ reject }) => reject(unavailable(reason)))
  }

  #strand(calls: readonly Waiting[], otherwise: (call: Waiting) => void): void {
    for (const call of this.#listener.onStranded(calls)) otherwise(call)
  }

  #become(state: LaneState, reason: string): void {
    if (state === this.#status.state && reason === this.#status.reason) return
    this.#status = { state, since: state === this.#status.state ? this.#status.since : new Date(), reason }
    this.#listener.onStatus()
  }
}

/** Resolves when the process has ended: by itself, as it is no longer spoken to, or else by force. */
async function dismissed(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  await new Promise<void>((resolve) => {
    const kill = setTimeout(() => child.kill('SIGKILL'), 1_000)
    child.once('exit', () => {
      clearTimeout(kill)
      resolve()
    })
    if (child.connected) child.disconnect()
  })
}
