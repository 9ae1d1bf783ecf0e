import { equalBytes } from '../../core/bytes.ts'
import { groupMessage, nextChain, startChain } from './group.ts'
import type { StoredGroup } from './sequencer-store.ts'
import type { CheckGroups } from './take-over.ts'

/** A stored group with the chain of the one before it; null for the first of its epoch. */
export interface LinkedGroup extends StoredGroup {
  readonly before: Uint8Array | null
}

/** The groups that are as they were committed: the MAC is the token's, and the bundle leads from the chain before it to the one that is MACed. */
export async function intactGroups<Group extends LinkedGroup>(groups: readonly Group[], checkGroups: CheckGroups): Promise<Group[]> {
  const valid = await checkGroups(groups.map((group) => ({ message: groupMessage(group), mac: group.mac })))
  return groups.filter(
    ({ writer, epoch, bundle, chain, before }, at) => valid[at] === true && equalBytes(nextChain(before ?? startChain(writer, epoch), bundle), chain),
  )
}
