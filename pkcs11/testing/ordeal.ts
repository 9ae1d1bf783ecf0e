import { setTimeout as wait } from 'node:timers/promises'
import type { FaultKind } from './fault-kinds.ts'
import type { FaultToken } from './fault-token.ts'
import type { Questions } from './questions.ts'
import { ask } from './traffic.ts'

/** No fault takes longer to be met by traffic. */
const MEET_MS = 5_000
/** What takes longer has not recovered. */
const GIVE_UP_MS = 10_000

export interface Recovery {
  /** From the end of the fault until every lane was there with one session, and every question was answered rightly. */
  readonly tookMs: number
  /** What was still amiss when it was given up. */
  readonly amiss: string
  /** All that was amiss on the way, each once. */
  readonly trail: readonly string[]
}

/** Waits for something, and answers whether it came. */
export async function until(isSo: () => boolean, withinMs: number): Promise<boolean> {
  for (const start = performance.now(); performance.now() - start < withinMs; await wait(5)) if (isSo()) return true
  return isSo()
}

/** Inflicts a fault while traffic runs, ends it, and waits for the recovery. Throws when no call met the fault. */
export async function inflict(token: FaultToken, questions: Questions, kind: FaultKind): Promise<Recovery> {
  const { module, lanes } = token
  const injected = kind.faults(lanes.all.map(({ pid }) => pid ?? 0)).map((fault) => module.inject(fault))
  try {
    if (!(await until(() => injected.every(({ hits }) => hits > 0), MEET_MS))) throw new Error('no call met the fault')
    await wait(kind.lastsMs ?? 0)
  } finally {
    module.clear()
  }
  return recovery(token, questions)
}

export async function recovery({ module, lanes }: FaultToken, questions: Questions): Promise<Recovery> {
  const start = performance.now()
  const trail = new Set<string>()
  for (;;) {
    const amiss = await whatIsAmiss()
    const tookMs = performance.now() - start
    if (amiss === '' || tookMs > GIVE_UP_MS) return { tookMs, amiss, trail: [...trail] }
    trail.add(amiss)
    await wait(10)
  }

  async function whatIsAmiss(): Promise<string> {
    const before = whoIsMissing()
    if (before !== '') return before
    const outcomes = await Promise.all(questions.all.map(ask))
    return outcomes.find(({ verdict }) => verdict !== 'right')?.why ?? whoIsMissing()
  }

  function whoIsMissing(): string {
    const [all, { ready }] = [lanes.all.length, lanes.counts]
    if (ready < all) return `${String(ready)} of ${String(all)} lanes are ready: ${lanes.state.reason}`
    const sessions = module.uses().map((use) => use.sessions)
    return sessions.length === all && sessions.every((count) => count === 1) ? '' : `${sessions.join(' and ')} sessions are open`
  }
}
