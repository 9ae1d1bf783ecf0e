import { equalBytes } from '../../core/bytes.ts'
import { type Entry, parseEntry } from './entry.ts'
import { decodeBundle, nextChain, startChain } from './group.ts'
import { LogFault } from './log-fault.ts'
import type { EntryRow, PendingEpoch, PendingGroup, StoredGroup } from './sequencer-store.ts'

/** What one round of the sequencer takes and believes. Pure. */

const placeOf = ({ writer, epoch, firstSeq }: { writer: number; epoch: number; firstSeq: number }): string =>
  `(writer ${writer}, epoch ${epoch}, sequence ${firstSeq})`

/**
 * The next groups in the order of the log, as many as the limits allow and at least one: by the time they were inserted, but within a slot by epoch
 * and sequence, whatever the clock says. Throws a {@link LogFault} where a group is missing.
 */
export function planRound(epochs: readonly PendingEpoch[], limits: { readonly entries: number; readonly bytes: number }): PendingGroup[] {
  const queues = new Map<number, PendingGroup[]>()
  const blocked = new Set<number>()
  for (const one of [...epochs].sort((a, b) => a.writer - b.writer || a.epoch - b.epoch)) {
    let next = one.nextSeq
    for (const group of one.groups) {
      if (group.firstSeq !== next) {
        throw new LogFault(
          'group-gap',
          `before ${placeOf(group)} the entries from sequence ${next} are missing. Someone deleted or renumbered rows of audit_groups. Nothing after them is sequenced.`,
        )
      }
      next += group.count
    }
    if (blocked.has(one.writer)) continue
    queues.set(one.writer, [...(queues.get(one.writer) ?? []), ...one.groups])
    if (one.more) blocked.add(one.writer)
  }

  const lists = [...queues.values()].filter((list) => list.length > 0).map((list) => ({ list, at: 0 }))
  const plan: PendingGroup[] = []
  let entries = 0
  let bytes = 0
  for (;;) {
    let first: { list: PendingGroup[]; at: number } | undefined
    for (const one of lists) {
      const [mine, best] = [one.list[one.at], first?.list[first.at]]
      if (mine !== undefined && (best === undefined || mine.createdAtUs < best.createdAtUs)) first = one
    }
    const group = first?.list[first.at]
    if (first === undefined || group === undefined) return plan
    entries += group.count
    bytes += group.bytes
    if (plan.length > 0 && (entries > limits.entries || bytes > limits.bytes)) return plan
    plan.push(group)
    first.at += 1
  }
}

/** Follows the chain of one epoch. Throws a {@link LogFault} when the group does not follow; gives the chain after it. */
export function followChain(group: StoredGroup, before: Uint8Array | undefined): Uint8Array {
  const chain = nextChain(before ?? startChain(group.writer, group.epoch), group.bundle)
  if (!equalBytes(chain, group.chain)) {
    throw new LogFault('group-chain', `the group ${placeOf(group)} does not follow the one before it. Someone changed rows of audit_groups.`)
  }
  return chain
}

export const macFault = (group: StoredGroup): LogFault =>
  new LogFault(
    'group-mac',
    `the MAC of the group ${placeOf(group)} is not the token's. Someone changed or inserted a row of audit_groups, or the token is another one.`,
  )

export interface NumberedEntry {
  readonly bytes: Uint8Array
  readonly entry: Entry
  readonly row: EntryRow
}

/** The entries of a group that was believed, numbered from `index`. Throws a {@link LogFault} when they are not what the group's numbers say. */
export function entriesOf(group: StoredGroup, index: number): NumberedEntry[] {
  try {
    const list = decodeBundle(group.bundle)
    if (list.length !== group.count) throw new RangeError(`it has ${list.length} entries and says ${group.count}`)
    return list.map((bytes, at) => {
      const entry = parseEntry(bytes)
      const { slot, epoch, seq } = entry.writer
      if (slot !== group.writer || epoch !== group.epoch || seq !== group.firstSeq + at) throw new RangeError(`entry ${at} has another number`)
      return { bytes, entry, row: rowOf(entry, index + at, group) }
    })
  } catch (error) {
    throw new LogFault('group-malformed', `the group ${placeOf(group)} is not a bundle of entries: ${String(error)}`, { cause: error })
  }
}

const rowOf = (entry: Entry, index: number, group: StoredGroup): EntryRow => ({
  index,
  operationId: entry.id,
  writer: group.writer,
  epoch: group.epoch,
  seq: entry.writer.seq,
  groupSeq: group.firstSeq,
})
