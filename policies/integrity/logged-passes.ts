import type { Searcher } from '../audit/search/searcher.ts'
import { callerUrn, systemCaller } from '../caller.ts'
import type { PassRecord } from './integrity-store.ts'

/** The event of a whole comparison, by whom it is. */
export const CHECKED = 'system.integrity-checked'
export const INTEGRITY_CALLER = systemCaller('integrity')

/**
 * The last whole comparison, by its event: a table could be made to say that there was one just now, and then none is made. Throws `integrity-failed` where the index
 * says of an entry what it does not.
 */
export async function lastLoggedPass(searcher: Pick<Searcher, 'prepare' | 'search'>): Promise<PassRecord | undefined> {
  const asked = await searcher.prepare({
    and: [
      { field: 'operation', is: [CHECKED] },
      { field: 'caller', is: [callerUrn(INTEGRITY_CALLER)] },
    ],
  })
  const [found] = (await searcher.search(asked, { order: 'newest', limit: 1 })).entries
  if (found === undefined) return undefined
  const { time, facts = {} } = found.entry
  const of = (name: string): number => Number(facts[name] ?? 0)
  const endedAt = new Date(time)
  return { startedAt: new Date(endedAt.getTime() - of('seconds') * 1000), endedAt, entries: of('entries'), rows: of('rows'), findings: of('findings') }
}
