import { commitmentOf, type Entry } from '../audit/entry.ts'
import type { Finding } from './finding.ts'
import type { LogSource } from './log-source.ts'
import type { RowHead } from './row-heads.ts'

/** Commitments to personal values by their names, of entries by `slot/epoch/seq` of their writer. `index`: of the entry in the log. */
export type Committed = ReadonlyMap<string, { readonly index: number; readonly commitments: ReadonlyMap<string, string> }>

export const committedBy = (entries: readonly { readonly entry: Entry; readonly index: number }[]): Committed =>
  new Map(
    entries.map(({ entry: { writer, personal }, index }) => {
      const commitments = new Map(Object.entries(personal ?? {}).map(([name, { commitment }]) => [name, commitment]))
      return [`${writer.slot}/${writer.epoch}/${writer.seq}`, { index, commitments }]
    }),
  )

/** Of entries that were pruned: a row head is of one value, and its subject is the entry's place and the name. */
export function committedIn(heads: readonly RowHead[]): Committed {
  const byPlace = new Map<string, { readonly index: number; readonly commitments: Map<string, string> }>()
  for (const { subject, digest, index } of heads) {
    const at = subject.indexOf(' ')
    const [place, name] = [subject.slice(0, at), subject.slice(at + 1)]
    const one = byPlace.get(place) ?? { index, commitments: new Map<string, string>() }
    one.commitments.set(name, digest)
    byPlace.set(place, one)
  }
  return byPlace
}

/** Compares what the database has of the values, or says that it erased, with what their entries committed to. */
export async function personalFindings(source: Pick<LogSource, 'personal' | 'erased'>, committed: Committed): Promise<Finding[]> {
  if (committed.size === 0) return []
  const places = [...committed.keys()].map((place) => {
    const [writer = 0, epoch = 0, seq = 0] = place.split('/').map(Number)
    return { writer, epoch, seq }
  })
  // In this order: what is erased between the two stood, or is known to be erased.
  const stored = await source.personal(places)
  const erased = await source.erased(places)
  const findings: Finding[] = []
  const differs = (name: string, index: number, detail: string): void =>
    void findings.push({ code: 'personal-differs', subject: `personal value ${name} of entry ${index}`, detail, since: index })
  const there = new Set<string>()
  for (const { writer, epoch, seq, name, value, salt } of stored) {
    const place = `${writer}/${epoch}/${seq}`
    there.add(`${place} ${name}`)
    const one = committed.get(place)
    if (one !== undefined && one.commitments.get(name) !== commitmentOf({ name, value, salt }))
      differs(name, one.index, 'it is not the one that the entry committed to')
  }
  for (const { writer, epoch, seq, name } of erased) there.add(`${writer}/${epoch}/${seq} ${name}`)
  for (const [place, { index, commitments }] of committed)
    for (const name of commitments.keys()) if (!there.has(`${place} ${name}`)) differs(name, index, 'it is gone, and nobody erased it')
  return findings
}
