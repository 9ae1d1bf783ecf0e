/**
 * Makes single reads share statements: while one call of `load` is under way, all keys asked for gather for the next, each key once. So an idle store
 * answers at once, and a busy one reads more at a time. A read never uses an answer that was asked for before it.
 * A key that `load` leaves out of its map is `undefined`. When `load` throws, everyone who waited on that call gets the error.
 */
export function batched<Key, Value>(load: (keys: Key[]) => Promise<ReadonlyMap<Key, Value>>): (key: Key) => Promise<Value | undefined> {
  let waiting: { keys: Set<Key>; loaded: Promise<ReadonlyMap<Key, Value>> } | undefined
  let underWay: Promise<unknown> = Promise.resolve()

  const open = () => {
    const keys = new Set<Key>()
    const loaded = Promise.all([underWay, new Promise<void>((resolve) => setImmediate(resolve))]).then(() => {
      waiting = undefined
      return load([...keys])
    })
    underWay = loaded.catch(() => undefined)
    return { keys, loaded }
  }

  return async (key) => {
    waiting ??= open()
    const { keys, loaded } = waiting
    keys.add(key)
    return (await loaded).get(key)
  }
}
