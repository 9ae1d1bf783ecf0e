/**
 * The results of `work` on each item, in the order of the items, while up to `window` of them are under way. Throws what the items or the first failing work
 * throw; the works that are under way then go on unseen.
 */
export async function* ahead<Item, Result>(
  items: Iterable<Item> | AsyncIterable<Item>,
  window: number,
  work: (item: Item) => Result | Promise<Result>,
): AsyncGenerator<Result, void, void> {
  const underWay: Promise<Result>[] = []
  for await (const item of items) {
    const result = Promise.resolve(work(item))
    // It is awaited in its turn, and may fail before that.
    result.catch(() => undefined)
    underWay.push(result)
    const first = underWay.length < window ? undefined : underWay.shift()
    if (first !== undefined) yield await first
  }
  for (const result of underWay) yield await result
}
