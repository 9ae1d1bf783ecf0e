import { isIP } from 'node:net'
import type { Listener } from '../caller.ts'
import { LINE_END, parseAddress, parseNetwork } from './network.ts'
import type { PolicyDocument } from './schema.ts'

type ZoneDocument = PolicyDocument['zones'][string]

/** All addresses that lie in the same networks of the same zones. */
export interface Stretch {
  /** The stretch 0 is what no network holds: the zone that has all others, where there is one. */
  readonly index: number
  /** Zones one of whose networks holds it, in the document's order, whatever their listener. */
  readonly zones: readonly string[]
}

/** Which zones an address is in. Networks are laid out once as a sorted list of borders. */
export class ZoneMap {
  readonly #zones: Readonly<Record<string, ZoneDocument>>
  /** Where stretches begin, in order. */
  readonly borders: readonly bigint[]
  /** The stretch that begins at the border of the same place. */
  readonly #behind: readonly Stretch[]

  constructor(zones: Readonly<Record<string, ZoneDocument>>) {
    this.#zones = zones
    const changes = new Map<bigint, { readonly zone: number; readonly by: 1 | -1 }[]>([[0n, []]])
    const change = (at: bigint, zone: number, by: 1 | -1): void => {
      const known = changes.get(at)
      if (known === undefined) changes.set(at, [{ zone, by }])
      else known.push({ zone, by })
    }
    const names = Object.keys(zones)
    names.forEach((name, zone) => {
      for (const text of zones[name]?.networks ?? []) {
        const network = parseNetwork(text)
        if (network === undefined) throw new TypeError(`not a network: ${text}`)
        change(network.first, zone, 1)
        if (network.last + 1n < LINE_END) change(network.last + 1n, zone, -1)
      }
    })
    const others = names.filter((name) => zones[name]?.others === true)
    const distinct = new Map<string, Stretch>()
    const open = new Map<number, number>()
    let next = 0
    const borders: bigint[] = []
    const behind: Stretch[] = []
    for (const at of [...changes.keys()].sort((a, b) => (a < b ? -1 : 1))) {
      for (const { zone, by } of changes.get(at) ?? []) {
        const count = (open.get(zone) ?? 0) + by
        if (count === 0) open.delete(zone)
        else open.set(zone, count)
      }
      const inside = [...open.keys()].sort((a, b) => a - b)
      const key = inside.join(',')
      let stretch = distinct.get(key)
      if (stretch === undefined) {
        stretch = { index: key === '' ? 0 : (next += 1), zones: key === '' ? others : inside.flatMap((zone) => names[zone] ?? []) }
        distinct.set(key, stretch)
      }
      borders.push(at)
      behind.push(stretch)
    }
    this.borders = borders
    this.#behind = behind
  }

  /** Throws a TypeError on what is no address, which the gate makes a denial. */
  stretchOf(address: string): Stretch {
    const at = isIP(address) === 0 ? undefined : parseAddress(address)
    if (at === undefined) throw new TypeError('not an address')
    return this.stretchAt(at)
  }

  /** The stretch of a place on the line of addresses. */
  stretchAt(at: bigint): Stretch {
    let [low, high] = [0, this.borders.length - 1]
    while (low < high) {
      const middle = (low + high + 1) >> 1
      if ((this.borders[middle] ?? 0n) <= at) low = middle
      else high = middle - 1
    }
    return this.#behind[low] ?? { index: 0, zones: [] }
  }

  /** The zones of a stretch for connections to a listener: a zone that names another one is not among them. */
  zonesAt(stretch: Stretch, listener: Listener | undefined): readonly string[] {
    return stretch.zones.filter((name) => {
      const wanted = this.#zones[name]?.listener
      return wanted === undefined || wanted === listener
    })
  }
}
