import { PollLoop } from '../../core/poll-loop.ts'
import { asProblem, type Problem } from '../../core/problem.ts'
import type { AuthorityName } from './profile.ts'

export interface CrlJobSettings {
  readonly authorities: readonly AuthorityName[]
  /** Whether the authority needs a new list: it has none, an old one, or one that misses a revocation. Reads only, and cheap. */
  readonly isDue: (authority: AuthorityName) => Promise<boolean>
  /** Issues a list as the caller `system:crl`. Throws the {@link Problem} of a refusal or failure. */
  readonly issue: (authority: AuthorityName) => Promise<void>
  /** How often it looks without being woken. Default 3000. */
  readonly pollMs?: number
  /** The first wait after a failure; it doubles up to `maxRetryMs`. Default 250 and 60000. */
  readonly retryMs?: number
  readonly maxRetryMs?: number
  /** Told of every failure; it must not throw. */
  readonly onFailure?: (problem: Problem, authority: AuthorityName) => void
}

/**
 * Keeps the CRLs fresh: at start, each day, and within seconds after a revocation on this node (woken) or another (polling). It has no state of its own but
 * its waits after failures: of two nodes that issue at once one takes the number, and the other finds the list fresh. An authority that fails holds up no
 * other; its old list stays in service.
 */
export class CrlJob {
  readonly #settings: Required<CrlJobSettings>
  readonly #failed = new Map<AuthorityName, { readonly times: number; readonly againMs: number }>()
  readonly #loop = new PollLoop(() => this.#turn())

  constructor(settings: CrlJobSettings) {
    this.#settings = { pollMs: 3_000, retryMs: 250, maxRetryMs: 60_000, onFailure: () => undefined, ...settings }
  }

  start(): void {
    this.#loop.start()
  }

  /** Something was revoked. */
  wake(): void {
    this.#loop.wake()
  }

  /** Ends after the list that is being issued. */
  stop(): Promise<void> {
    return this.#loop.stop()
  }

  /** Answers how long to wait then: until the poll, or the end of the shortest wait after a failure. */
  async #turn(): Promise<number> {
    for (const authority of this.#settings.authorities) if (!this.#loop.isStopping) await this.#tend(authority)
    const again = [...this.#failed.values()].map(({ againMs }) => Math.max(1, againMs - performance.now()))
    return Math.min(this.#settings.pollMs, ...again)
  }

  async #tend(authority: AuthorityName): Promise<void> {
    const { isDue, issue, retryMs, maxRetryMs, onFailure } = this.#settings
    const failed = this.#failed.get(authority)
    if (failed !== undefined && failed.againMs > performance.now()) return
    try {
      if (await isDue(authority)) await issue(authority)
      this.#failed.delete(authority)
    } catch (error) {
      const times = (failed?.times ?? 0) + 1
      this.#failed.set(authority, { times, againMs: performance.now() + Math.min(retryMs * 2 ** (times - 1), maxRetryMs) })
      onFailure(asProblem(error), authority)
    }
  }
}
