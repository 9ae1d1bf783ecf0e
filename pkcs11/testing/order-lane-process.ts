import { runLane } from '../lane-loop.ts'
import type { FromLane } from '../lane-message.ts'
import { TokenAway } from '../token.ts'

/** A lane whose verbs tell how many messages were answered when they began; `hold` keeps it busy, so that the next messages have come before it looks; after `fail` it ends. */
let answered = 0
const send = process.send?.bind(process)
process.send = (message: FromLane, ...more: readonly unknown[]) => {
  if (message.kind === 'answers') answered++
  return send?.(message, ...(more as [])) ?? false
}

const HOLD_MS = 150

runLane({
  hold: () => {
    const until = performance.now() + HOLD_MS
    while (performance.now() < until);
    return answered
  },
  look: () => answered,
  fail: () => {
    throw new TokenAway('the token is gone')
  },
})
