import { z } from 'zod'
import { base64url } from '../../../core/bytes.ts'
import { found } from '../../../core/found.ts'
import { newUuid } from '../../../core/ids.ts'
import type { Problem } from '../../../core/problem.ts'
import { officersOnly, type Operation, operation } from '../../operation.ts'
import { REASON } from '../../reason.ts'
import type { Erased, Subject, Tally } from '../personal-value.ts'
import { blindIndexesOf, BY_AN_OFFICER, type Deps, SUBJECTS } from './deps.ts'
import { timesView } from './find-personal.ts'

const OUTPUT = z
  .strictObject({
    erasure: z.string().meta({ description: 'Its id: reveals name it where a value was.' }),
    values: z.number().int().meta({ description: 'How many values were erased.' }),
    entries: z.number().int().meta({ description: 'Of how many entries.' }),
    earliest: z.string().optional(),
    latest: z.string().optional(),
    retained: z.number().int().meta({ description: 'How many were too young, and stay. Ask again when they are old enough.' }),
    positions: z.string().meta({ description: 'Digest over the places of the erased values, as the entry has it (docs/personal-values.md).' }),
  })
  .meta({ id: 'Erasure' })
type View = z.infer<typeof OUTPUT>

interface Input {
  readonly subjects: readonly Subject[]
  readonly reason: string
}
interface Target extends Input {
  readonly obstacle: Problem | undefined
  readonly blindIndexes: readonly Uint8Array[]
  /** Before it: what the approver sees. Absent where there is an obstacle. */
  readonly tally: Tally | undefined
}
interface Result {
  readonly erasure: string
  /** Known once the rows are deleted. */
  erased?: Erased
}

/**
 * Two officers have a person's or card's values deleted from behind the log. Entries, tree and proofs are untouched: their commitments cannot be opened any more.
 * Asked again it erases what came since, which may be nothing. It uses no key of a caller, so that all of it is one transaction: a crash leaves the values and a hold
 * that still waits, or neither.
 */
export const erasePersonal = (deps: Deps): Operation<Input, Target, Result, View> =>
  operation<Input, Target, Result, View>({
    name: 'policies.personal.erase',
    summary: 'Erases what the log can show of a person or card, by their values. Held until another officer has approved it.',
    effect: 'durable',
    route: { method: 'POST', path: '/v1/policies/personal/erase' },
    input: z.strictObject({ subjects: SUBJECTS, reason: REASON }),
    output: OUTPUT,
    locate: async ({ subjects, reason }, caller) => {
      const obstacle = officersOnly(caller)
      if (obstacle !== undefined) return { subjects, reason, obstacle, blindIndexes: [], tally: undefined }
      const blindIndexes = await blindIndexesOf(deps, subjects)
      return { subjects, reason, obstacle, blindIndexes, tally: await deps.personal.tally(blindIndexes, deps.retentionDays) }
    },
    uses: () => [],
    facts: ({ subjects, reason, tally }) => ({ public: { reason, subjects: subjects.length, ...(tally === undefined ? {} : tallyFacts(tally)) } }),
    admit: ({ obstacle }) => obstacle,
    leastHold: () => BY_AN_OFFICER,
    execute: () => Promise.resolve({ erasure: newUuid() }),
    record: async (tx, { blindIndexes }, result) => {
      result.erased = await deps.personal.erase(tx, result.erasure, blindIndexes, deps.retentionDays)
      const { values, entries, positions } = result.erased
      return { facts: { public: { erasure: result.erasure, erasedValues: values, erasedEntries: entries, positions: base64url(positions) } } }
    },
    respond: ({ tally }, { erasure, erased }) => {
      const { values, entries, positions, ...times } = found(erased)
      return { erasure, values, entries, retained: found(tally).retained, positions: base64url(positions), ...timesView(times) }
    },
  })

const tallyFacts = ({ values, entries, names, retained, ...times }: Tally) => ({ values, entries, names, retained, ...timesView(times) })
