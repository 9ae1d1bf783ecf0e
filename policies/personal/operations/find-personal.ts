import { z } from 'zod'
import { type Operation, operation } from '../../operation.ts'
import type { Subject, Tally } from '../personal-value.ts'
import { blindIndexesOf, type Deps, SUBJECTS } from './deps.ts'

export const TALLY = z
  .strictObject({
    values: z.number().int().meta({ description: 'How many values of the subject the log can show.' }),
    entries: z.number().int().meta({ description: 'In how many entries.' }),
    names: z.array(z.string()).meta({ description: 'Under which names.' }),
    earliest: z.string().optional().meta({ description: 'When the first of the entries was committed.' }),
    latest: z.string().optional(),
    retained: z.number().int().meta({ description: 'Those of `values` that are too young to be erased.' }),
    retentionDays: z.number().int().meta({ description: 'Younger values are not erased. 0: of any age.' }),
  })
  .meta({ id: 'PersonalTally' })

export const timesView = ({ earliest, latest }: Pick<Tally, 'earliest' | 'latest'>): { earliest?: string; latest?: string } => ({
  ...(earliest === undefined ? {} : { earliest: earliest.toISOString() }),
  ...(latest === undefined ? {} : { latest: latest.toISOString() }),
})

interface Input {
  readonly subjects: readonly Subject[]
}

/** Counts, before anything is erased. The values are in the request alone: its entry says how many were asked for. */
export const findPersonal = (deps: Deps): Operation<Input, Input, Tally, z.infer<typeof TALLY>> =>
  operation({
    name: 'policies.personal.find',
    summary: 'Counts what the log holds of a person or card, by their values: what an erasure would take.',
    effect: 'transient',
    // Not a GET: addresses are logged everywhere.
    route: { method: 'POST', path: '/v1/policies/personal/find' },
    input: z.strictObject({ subjects: SUBJECTS }),
    output: TALLY,
    locate: (input) => Promise.resolve(input),
    uses: () => [],
    facts: ({ subjects }) => ({ public: { subjects: subjects.length } }),
    execute: async (_permit, { subjects }) => deps.personal.tally(await blindIndexesOf(deps, subjects), deps.retentionDays),
    outcomeFacts: (_target, { values, entries }) => ({ public: { values, entries } }),
    respond: (_target, { values, entries, names, retained, ...times }) => ({
      ...{ values, entries, names: [...names], retained, retentionDays: deps.retentionDays },
      ...timesView(times),
    }),
  })
