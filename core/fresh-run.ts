/**
 * `work`, so that each caller gets a run that began after the call: who calls while one is under way, which may have read before, shares the next with all others
 * who do. Runs never overlap. A run that fails fails for those who waited for it.
 */
export function freshRun<Result>(work: () => Promise<Result>): () => Promise<Result> {
  let running: Promise<Result> | undefined
  let next: Promise<Result> | undefined
  const begin = (): Promise<Result> => {
    running = work().finally(() => {
      running = undefined
    })
    return running
  }
  return () => {
    if (running === undefined) return begin()
    next ??= running.then(ignore, ignore).then(() => {
      next = undefined
      return running ?? begin()
    })
    return next
  }
}

const ignore = (): void => undefined
