/**
 * Makes single reads share one statement: every key asked for in one turn of the event loop goes to one call of `load`, each key once.
 * A key that `load` leaves out of its map is `undefined`. When `load` throws, everyone who waited on that call gets the error.
 */
export function batched<Key, Value>(load: (keys: Key[]) => Promise<ReadonlyMap<Key, Value>>): (key: Key) => Promise<Value | undefined> {
  let waiting: { keys: Set<Key>; loaded: Promise<ReadonlyMap<Key, Value>> } | undefined

  const open = () => {
    const keys = new Set<Key>()
    const loaded = new Promise<void>((resolve) => setImmediate(resolve)).then(() => {
      waiting = undefined
      return load([...keys])
    })
    return { keys, loaded }
  }

  return async (key) => {
    waiting ??= open()
    const { keys, loaded } = waiting
    keys.add(key)
    return (await loaded).get(key)
  }
}
