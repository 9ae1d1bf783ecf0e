import type { Finding } from './finding.ts'
import type { LogSource } from './log-source.ts'

/** So many are told. */
const MOST_TOLD = 10

/**
 * Groups that are committed, and that the leader does not look for: whoever writes to the tables that say where it looks can keep what is acknowledged out of the tree,
 * and nothing stops. Of a log that nobody tampered with there are none at any moment: an epoch is drained only once a newer one has its slot.
 */
export async function hiddenEpochs(source: Pick<LogSource, 'hiddenEpochs'>): Promise<Finding[]> {
  return (await source.hiddenEpochs(MOST_TOLD)).map(({ writer, epoch, seq }) => ({
    ...{ code: 'group-hidden', subject: `groups of writer ${writer}, epoch ${epoch}` },
    detail: `those from sequence ${seq} on are not in the log, and the leader does not look for them: the epoch is said to be drained, or not to be`,
  }))
}
