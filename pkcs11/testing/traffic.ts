import { setTimeout as wait } from 'node:timers/promises'
import { causeOf, Problem } from '../../core/problem.ts'
import type { Question } from './questions.ts'

/** `refused`: the problem `hsm-unavailable`. Everything else that is not the right answer is wrong. */
export type Verdict = 'right' | 'refused' | 'wrong'

export interface Outcome {
  readonly question: Question
  readonly verdict: Verdict
  /** On the steady clock. */
  readonly startedMs: number
  readonly tookMs: number
  /** Of a refusal or a wrong answer: what was said. */
  readonly why?: string
}

/** Asks once. Never rejects. */
export async function ask(question: Question): Promise<Outcome> {
  const startedMs = performance.now()
  const outcome = (verdict: Verdict, why?: string): Outcome => ({
    question,
    verdict,
    startedMs,
    tookMs: performance.now() - startedMs,
    ...(why === undefined ? {} : { why: `${question.name}: ${why}` }),
  })
  try {
    return (await question.ask()) ? outcome('right') : outcome('wrong', 'another answer')
  } catch (error) {
    if (!(error instanceof Problem)) return outcome('wrong', error instanceof Error ? `${error.name}: ${error.message}` : 'no error')
    const refused = error.code === 'hsm-unavailable' && error.status === 503
    return outcome(refused ? 'refused' : 'wrong', `${error.code}, ${causeOf(error)}`)
  }
}

export interface Traffic {
  readonly callers: number
  /** How long each waits after an answer. Default 0. */
  readonly pauseMs?: number
  readonly onOutcome: (outcome: Outcome) => void
}

/** Callers who ask one question after another until they are stopped. Who is refused waits a little. */
export function startTraffic(questions: readonly Question[], { callers, pauseMs = 0, onOutcome }: Traffic): { stop(): Promise<void> } {
  const end = new AbortController()
  let next = 0
  const caller = async (): Promise<void> => {
    while (!end.signal.aborted) {
      const question = questions[next++ % questions.length]
      if (question === undefined) return
      const outcome = await ask(question)
      onOutcome(outcome)
      const waitMs = outcome.verdict === 'refused' ? Math.max(5, pauseMs) : pauseMs
      if (waitMs > 0) await wait(waitMs)
    }
  }
  const all = Promise.all(Array.from({ length: callers }, caller))
  return {
    stop: async () => {
      end.abort()
      await all
    },
  }
}
