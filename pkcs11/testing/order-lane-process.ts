import { runLane } from '../lane-loop.ts'

/** A lane whose verbs tell how many messages were answered when they began; `hold` keeps it busy, so that the next messages have come before it looks. */
let answered = 0
const send = process.send?.bind(process)
process.send = (...message: Parameters<NonNullable<typeof process.send>>) => {
  const [what] = message
  if (typeof what === 'object' && what !== null && 'kind' in what && what.kind === 'answers') answered++
  return send?.(...message) ?? false
}

const HOLD_MS = 150

runLane({
  hold: () => {
    const until = performance.now() + HOLD_MS
    while (performance.now() < until);
    return answered
  },
  look: () => answered,
})
