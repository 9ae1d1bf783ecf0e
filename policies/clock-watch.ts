import { PollLoop } from '../core/poll-loop.ts'
import { Problem } from '../core/problem.ts'

/** What the database says of time, in one statement. */
export interface DatabaseTime {
  readonly now: Date
  /** When the last checkpoint was published, by the same clock. Undefined before the first. */
  readonly lastCheckpoint: Date | undefined
}

export interface ClockWatchSettings {
  readonly read: () => Promise<DatabaseTime>
  /** This machine's clock, milliseconds since 1970. Default the system's. */
  readonly wallNow?: () => number
  /** Milliseconds of a clock that never jumps. Default the process's. */
  readonly steadyNow?: () => number
  /** Default 1000. */
  readonly everyMs?: number
}

/** By more than this two clocks differ, or one has jumped. */
const MOST_MS = 2000
/** A reading that took longer says nothing. */
const LONGEST_READING_MS = 1000
/** How long a jump is told of: whoever looks for alarms looks more often. */
const JUMP_TOLD_MS = 15_000

interface Reading {
  readonly wall: number
  readonly steady: number
  readonly database: number
}

/**
 * Durable decisions are dated by the database's clock, and policies are decided by this machine's. Where they differ by over 2 s, or the database's is earlier than
 * the last checkpoint, nothing that changes something or uses a key is done here: see `policies/gate.ts`. A jump after which they agree is told, and refuses nothing.
 */
export class ClockWatch {
  readonly #settings: ClockWatchSettings
  readonly #loop: PollLoop
  #last: Reading | undefined
  #fault: string | undefined
  #jump: { readonly detail: string; readonly at: number } | undefined

  constructor(settings: ClockWatchSettings) {
    this.#settings = settings
    this.#loop = new PollLoop(async () => {
      await this.look()
      return settings.everyMs ?? 1000
    })
  }

  start(): void {
    this.#loop.start()
  }

  stop(): Promise<void> {
    return this.#loop.stop()
  }

  /** Why this node must not decide now. */
  get problem(): Problem | undefined {
    return this.#fault === undefined
      ? undefined
      : new Problem(
          'clock-unreliable',
          `Nothing is changed and no key is used while ${this.#fault}. Whoever runs the service sets the clocks right; then try again in a few seconds.`,
        )
  }

  /** What is wrong, or was a moment ago. */
  get detail(): string | undefined {
    if (this.#fault !== undefined) return this.#fault
    return this.#jump !== undefined && this.#steady() - this.#jump.at < JUMP_TOLD_MS ? this.#jump.detail : undefined
  }

  /** One reading. One that fails or takes long leaves what is known as it is. Never throws. */
  async look(): Promise<void> {
    const { read, wallNow = Date.now } = this.#settings
    const [wallBefore, steadyBefore] = [wallNow(), this.#steady()]
    const time = await read().catch(() => undefined)
    const tookMs = this.#steady() - steadyBefore
    if (time === undefined || tookMs > LONGEST_READING_MS) return
    // The database read its clock at some moment in between.
    const reading = { wall: wallBefore + tookMs / 2, steady: steadyBefore + tookMs / 2, database: time.now.getTime() }
    const apart = reading.database - reading.wall
    const behind = time.lastCheckpoint === undefined ? 0 : time.lastCheckpoint.getTime() - reading.database
    this.#fault =
      Math.abs(apart) - tookMs / 2 > MOST_MS
        ? `the database’s clock and this machine’s are ${seconds(apart)} s apart`
        : behind > MOST_MS
          ? `the database’s clock is ${seconds(behind)} s before the last checkpoint`
          : undefined
    if (this.#last !== undefined) this.#compare(this.#last, reading, tookMs)
    this.#last = reading
  }

  #compare(before: Reading, now: Reading, tookMs: number): void {
    const passed = now.steady - before.steady
    for (const [whose, jumped] of [
      ['this machine’s', now.wall - before.wall - passed],
      ['the database’s', now.database - before.database - passed],
    ] as const) {
      if (Math.abs(jumped) - tookMs > MOST_MS) this.#jump = { detail: `${whose} clock jumped by ${seconds(jumped)} s`, at: now.steady }
    }
  }

  #steady(): number {
    return (this.#settings.steadyNow ?? (() => performance.now()))()
  }
}

const seconds = (ms: number): string => (Math.abs(ms) / 1000).toFixed(1)
