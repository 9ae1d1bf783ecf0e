import type { Decide } from '../firewall/index.ts'
import { explainer, type Explanation } from '../firewall/explain.ts'
import type { Asked, LoadedPolicy } from '../firewall/index.ts'
import type { Activation } from './activation.ts'

/** A policy as it was, ready to be asked. */
export interface PastPolicy {
  readonly decide: Decide
  readonly explain: (asked: Asked) => Explanation
}

/** Policies kept ready at most. */
const MOST = 4

/** Policies of the past, compiled when somebody asks for them. */
export class PastPolicies {
  readonly #load: (text: string) => LoadedPolicy
  readonly #ready = new Map<string, PastPolicy>()

  constructor(load: (text: string) => LoadedPolicy) {
    this.#load = load
  }

  /** Throws a PolicyError where the text names operations that are not there any more. */
  of({ revision, text }: Pick<Activation, 'revision' | 'text'>): PastPolicy {
    const known = this.#ready.get(revision)
    if (known !== undefined) return known
    const { decide, resolved } = this.#load(text)
    const policy = { decide, explain: explainer(resolved, decide) }
    const [oldest] = this.#ready.keys()
    if (this.#ready.size >= MOST && oldest !== undefined) this.#ready.delete(oldest)
    this.#ready.set(revision, policy)
    return policy
  }
}
