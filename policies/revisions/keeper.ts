import { freshRun } from '../../core/fresh-run.ts'
import { PollLoop } from '../../core/poll-loop.ts'
import { asProblem, Problem } from '../../core/problem.ts'
import { callerUrn } from '../caller.ts'
import type { Asked, Decision } from '../firewall/index.ts'
import { decideWithGrants, type Grant } from '../grants/grant.ts'
import { type Activation, hasRunOut } from './activation.ts'
import type { ActivationStore, RuleHits, Standing } from './activation-store.ts'
import type { ReadyPolicy } from './recovery.ts'

/** How long a node decides by a policy without having heard that it is still the one. */
export const LEASE_MS = 5000
const RENEW_MS = 1000
/** Between two writings of what rules decided. */
const HITS_MS = 5000

export interface KeeperParts {
  readonly node: string
  readonly store: Pick<ActivationStore, 'renew' | 'find' | 'leave' | 'addHits'>
  /** The grants that count now or soon. Read with each renewal: the lease is one on them too. */
  readonly liveGrants: () => Promise<readonly Grant[]>
  /** Throws where the policy key did not sign it. */
  readonly assertSigned: (activation: Activation) => Promise<void>
  readonly compile: (text: string) => ReadyPolicy
  /** Writes down that a trial ran out, through the gate. It counts as such already. */
  readonly rollBack: (number: number) => Promise<void>
  /** A clock that never goes back, in milliseconds. */
  readonly nowMs?: () => number
  /** Told when another policy is in force on this node. */
  readonly onChange?: (activation: Activation, recovery: string | undefined) => void
  /** Told of a failed renewal; it must not throw. */
  readonly onFailure?: (problem: Problem) => void
}

interface InForce extends ReadyPolicy {
  readonly activation: Activation
}

/**
 * The policy of one node. It is swapped whole: a decision is made by one revision. The node renews its lease every second, and refuses everything once it could not for
 * {@link LEASE_MS}: so a revision that was taken back anywhere decides nowhere after that.
 */
export class PolicyKeeper {
  readonly #parts: KeeperParts
  readonly #nowMs: () => number
  readonly #loop: PollLoop
  #known: Standing['latest']
  /** The latest activation, and what it returns to where it is a trial. */
  #latest: InForce | undefined
  #fallback: InForce | undefined
  #inForce: InForce | undefined
  #grants: readonly Grant[] = []
  #leaseUntil = Number.NEGATIVE_INFINITY
  /** When the first of the renewals was asked for that the database gave no answer to. */
  #unheardSince: number | undefined
  /** When the database's clock and this one said the same. */
  #clock = { database: 0, own: 0 }
  #hits = new Map<string, { hits: number; firstAt: Date; lastAt: Date }>()
  #hitsWritten: number

  constructor(parts: KeeperParts) {
    this.#parts = parts
    this.#nowMs = parts.nowMs ?? (() => performance.now())
    this.#hitsWritten = this.#nowMs()
    this.#loop = new PollLoop(async () => {
      await this.refresh().catch((error: unknown) => parts.onFailure?.(asProblem(error)))
      return RENEW_MS
    })
  }

  /** Pure but for the count of hits. Throws before the first renewal, which the gate makes a denial. */
  decide(asked: Asked): Decision {
    const inForce = this.#inForce
    if (inForce === undefined) throw new Error('there is no policy yet')
    if (this.#nowMs() >= this.#leaseUntil) return noLease(asked, inForce.activation.revision)
    this.#expire()
    const decision = decideWithGrants((this.#inForce ?? inForce).decide(asked), asked, this.#grants)
    this.#count(decision)
    return decision
  }

  get inForce(): Activation | undefined {
    this.#expire()
    return this.#inForce?.activation
  }

  /** Why the policy in force is not wholly of use to this version of the service; undefined: it is. */
  get recovery(): string | undefined {
    this.#expire()
    return this.#inForce?.recovery
  }

  /** Whether the lease is over and the database has not been heard of since: what is asked of this node now is refused, and no record of it can be made. */
  get isCutOff(): boolean {
    const now = this.#nowMs()
    return this.#unheardSince !== undefined && now - this.#unheardSince >= RENEW_MS && now >= this.#leaseUntil
  }

  start(): void {
    this.#loop.start()
  }

  /** Renews the lease now, and takes what is in force. Throws what went wrong; the lease stays as long as it was. */
  readonly refresh = freshRun(() => this.#renewHeard())

  async stop(): Promise<void> {
    await this.#loop.stop()
    await this.#writeHits()
    await this.#parts.store.leave(this.#parts.node)
  }

  async #renewHeard(): Promise<void> {
    this.#unheardSince ??= this.#nowMs()
    try {
      await this.#renew()
      this.#unheardSince = undefined
    } catch (error) {
      if (asProblem(error).code !== 'database-unavailable') this.#unheardSince = undefined
      throw error
    }
  }

  async #renew(): Promise<void> {
    const { store, node } = this.#parts
    const asked = this.#nowMs()
    const [{ latest, now }, grants] = await Promise.all([store.renew(node, this.#inForce?.activation.number ?? 0), this.#parts.liveGrants()])
    if (latest === undefined) throw new Problem('internal', 'There is no policy in the database.')
    if (this.#known !== undefined && latest.number < this.#known.number)
      throw new Problem('integrity-failed', `The database has forgotten the policy activation ${String(this.#known.number)}: it was set back.`)
    if (latest.number !== this.#known?.number || latest.version !== this.#known.version) await this.#load(latest.number)
    this.#known = latest
    this.#grants = grants
    this.#clock = { database: now.getTime(), own: asked }
    this.#leaseUntil = asked + LEASE_MS
    this.#expire()
    const trial = this.#latest?.activation
    if (trial !== undefined && hasRunOut(trial, this.#now())) await this.#parts.rollBack(trial.number)
    if (asked - this.#hitsWritten >= HITS_MS) await this.#writeHits()
  }

  async #load(number: number): Promise<void> {
    const latest = await this.#read(number)
    const { returnsTo, state } = latest.activation
    this.#fallback = state === 'trial' && returnsTo !== undefined ? await this.#read(returnsTo) : undefined
    this.#latest = latest
    this.#take(latest)
  }

  async #read(number: number): Promise<InForce> {
    const known = [this.#latest, this.#fallback].find((one) => one?.activation.number === number)
    const activation = await this.#parts.store.find(number)
    if (activation === undefined) throw new Problem('integrity-failed', `The policy activation ${String(number)} is not there any more.`)
    if (known !== undefined && known.activation.text === activation.text) return { ...known, activation }
    await this.#parts.assertSigned(activation)
    return { ...this.#parts.compile(activation.text), activation }
  }

  /** A trial ends on every node at its time, by itself. */
  #expire(): void {
    const [trial, fallback] = [this.#inForce, this.#fallback]
    if (trial !== undefined && fallback !== undefined && trial !== fallback && hasRunOut(trial.activation, this.#now())) this.#take(fallback)
  }

  #take(next: InForce): void {
    if (this.#inForce?.activation.number !== next.activation.number) this.#parts.onChange?.(next.activation, next.recovery)
    this.#inForce = next
  }

  #now(): Date {
    return new Date(this.#clock.database + this.#nowMs() - this.#clock.own)
  }

  #count({ rule, revision }: Decision): void {
    const now = this.#now()
    const found = this.#hits.get(`${revision} ${rule}`)
    if (found === undefined) {
      this.#hits.set(`${revision} ${rule}`, { hits: 1, firstAt: now, lastAt: now })
      return
    }
    found.hits += 1
    found.lastAt = now
  }

  /** Hits that could not be written are kept for the next time. */
  async #writeHits(): Promise<void> {
    this.#hitsWritten = this.#nowMs()
    const hits = this.#hits
    this.#hits = new Map()
    try {
      await this.#parts.store.addHits([...hits].map(([key, counted]): RuleHits => ({ revision: key.slice(0, 16), rule: key.slice(17), ...counted })))
    } catch (error) {
      for (const [key, counted] of hits) {
        const later = this.#hits.get(key)
        this.#hits.set(key, later === undefined ? counted : { hits: counted.hits + later.hits, firstAt: counted.firstAt, lastAt: later.lastAt })
      }
      throw error
    }
  }
}

/** What decisions name in place of a rule without a lease. */
export const LEASE_RULE = 'lease'

const noLease = (asked: Asked, revision: string): Decision => ({
  effect: 'deny',
  rule: LEASE_RULE,
  revision,
  reason: `${callerUrn(asked.caller)} may not ${asked.operation}: for ${String(LEASE_MS / 1000)} s this node could not learn whether its policy is still in force. Ask again in some seconds, or another node.`,
})
