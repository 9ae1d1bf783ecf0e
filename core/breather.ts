/** How long work may hold the event loop. */
const SLICE_MS = 8

/** Lets the event loop run when a slice of time is used up: to be awaited between small pieces of work. */
export function breather(): () => Promise<void> | undefined {
  let started = performance.now()
  return () => {
    if (performance.now() - started < SLICE_MS) return undefined
    return new Promise((resolve) =>
      setImmediate(() => {
        started = performance.now()
        resolve()
      }),
    )
  }
}
