import { z } from 'zod'
import { base64url } from '../../../core/bytes.ts'
import { Problem } from '../../../core/problem.ts'
import { type Commitment, commitmentOf } from '../../audit/entry.ts'
import type { FoundEntry } from '../../audit/reader.ts'
import { type Operation, operation } from '../../operation.ts'
import { REASON } from '../../reason.ts'
import type { Kept } from '../personal-value.ts'
import { BY_AN_OFFICER, type Deps, PERSONAL_NAME } from './deps.ts'

/** Entries of one reveal: an approver looks at each. */
const MOST_ENTRIES = 100

const OUTPUT = z.strictObject({
  entries: z.array(
    z.strictObject({
      index: z.number().int(),
      values: z.array(
        z.strictObject({
          name: z.string(),
          commitment: z.string().meta({ description: 'As the entry has it.' }),
          value: z.string().optional().meta({ description: 'Absent where it was erased.' }),
          salt: z.string().optional().meta({ description: '16 bytes, base64url: with name and value it gives the commitment.' }),
          erasure: z.string().optional().meta({ description: 'The erasure that took the value.' }),
        }),
      ),
    }),
  ),
})
type View = z.infer<typeof OUTPUT>

interface Input {
  readonly entries: readonly number[]
  readonly names?: readonly string[] | undefined
  readonly reason: string
}
interface Target extends Input {
  /** Undefined: there is no such entry, or not yet. */
  readonly found: readonly (FoundEntry | undefined)[]
}

/** An auditor sees the personal values behind entries once an officer has agreed. The approver sees which entries and which names; nobody sees values before. */
export const revealPersonal = (deps: Deps): Operation<Input, Target, View['entries'], View> =>
  operation<Input, Target, View['entries'], View>({
    name: 'policies.audit.reveal',
    summary: 'Shows the personal values behind entries of the log, with the salts that open their commitments. Held until an officer has approved it.',
    effect: 'transient',
    route: { method: 'POST', path: '/v1/policies/audit/reveal' },
    input: z.strictObject({
      entries: z
        .array(z.number().int().min(0).max(Number.MAX_SAFE_INTEGER))
        .min(1)
        .max(MOST_ENTRIES)
        .refine((indexes) => new Set(indexes).size === indexes.length, 'each index once')
        .meta({ description: 'Indexes of entries.', example: [1234] }),
      names: z.array(PERSONAL_NAME).min(1).max(20).optional().meta({ description: 'Only values of these names. Absent: all that the entries have.' }),
      reason: REASON,
    }),
    output: OUTPUT,
    locate: async (input) => ({ ...input, found: await Promise.all(input.entries.map((index) => entryAt(deps, index))) }),
    uses: () => [],
    facts: ({ entries, names, reason, found }) => ({
      public: {
        ...{ reason, entries: entries.map(String), of: [...new Set(found.flatMap((one) => (one === undefined ? [] : [one.entry.operation])))] },
        ...(names === undefined ? {} : { names }),
      },
    }),
    admit: ({ entries, found }) => {
      const missing = entries.filter((_, at) => found[at] === undefined)
      return missing.length === 0 ? undefined : new Problem('not-found', `The log has no entry ${missing.join(', ')}, or not yet.`)
    },
    leastHold: () => BY_AN_OFFICER,
    execute: async (_permit, { found, names }) => {
      const entries = found.filter((one) => one !== undefined)
      const kept = await deps.personal.keptOf(entries.map(({ entry }) => entry.writer))
      return entries.map(({ index, entry }, at) => ({
        index,
        values: Object.entries(entry.personal ?? {})
          .filter(([name]) => names?.includes(name) ?? true)
          .map(([name, commitment]) => opened({ index, name, commitment }, kept[at]?.kept ?? [])),
      }))
    },
    outcomeFacts: (_target, entries) => {
      const values = entries.flatMap((one) => one.values)
      return {
        public: { revealed: values.filter(({ value }) => value !== undefined).length, erased: values.filter(({ erasure }) => erasure !== undefined).length },
      }
    },
    respond: (_target, entries) => ({ entries }),
  })

/** The entry of an index, its bytes checked. */
async function entryAt({ reader }: Deps, index: number): Promise<FoundEntry | undefined> {
  const [entry] = await reader.search({ from: index, limit: 1 })
  return entry?.index === index ? entry : undefined
}

/** A value that opens the commitment in the entry's bytes. Throws `integrity-failed` for one that does not, and for one that is gone without an erasure. */
function opened(
  { index, name, commitment: { commitment } }: { readonly index: number; readonly name: string; readonly commitment: Commitment },
  kept: readonly Kept[],
): View['entries'][number]['values'][number] {
  const value = kept.find((one) => one.kind === 'value' && one.value.name === name)
  if (value?.kind === 'value') {
    if (commitmentOf(value.value) !== commitment) throw changed(index, name, 'does not open the commitment in the entry: it was changed in the database')
    return { name, commitment, value: value.value.value, salt: base64url(value.value.salt) }
  }
  const erased = kept.find((one) => one.kind === 'erased' && one.name === name)
  if (erased?.kind !== 'erased') throw changed(index, name, 'is gone, and no erasure took it: it was deleted in the database')
  return { name, commitment, erasure: erased.erasure }
}

const changed = (index: number, name: string, what: string): Problem =>
  new Problem('integrity-failed', `The value ${name} behind the entry ${String(index)} ${what}. Nothing was shown.`)
