import { z } from 'zod'
import { base64 } from '../../../core/bytes.ts'
import { Problem } from '../../../core/problem.ts'
import { operation } from '../../operation.ts'
import type { Facts } from '../log.ts'
import { archivedHint } from '../prune/prune-record.ts'
import type { FoundEntry, LogReader } from '../reader.ts'
import { GROUP_FIELDS } from '../search/field.ts'
import { EVERYTHING, type Query } from '../search/query.ts'
import type { PreparedQuery } from '../search/planner.ts'
import type { Page, Reach, Searcher, SearchResult } from '../search/searcher.ts'
import { filterFault, filterInput, queryInput, queryOf, uuid } from './search-input.ts'

export interface SearchDeps {
  readonly searcher: Pick<Searcher, 'prepare' | 'search' | 'count' | 'histogram'>
}

const entryView = z.object({
  index: z.number().int().min(0).meta({ description: 'Its place in the log, from 0.' }),
  bytes: z.string().meta({ description: 'Base64 of the exact bytes that the log hashes.' }),
  entry: z.record(z.string(), z.unknown()).meta({ description: 'The same, read. Format: docs/audit-log.md.' }),
})

const viewOf = ({ index, bytes, entry }: FoundEntry): z.infer<typeof entryView> => ({ index, bytes: base64(bytes), entry: { ...entry } })

export const archivedBefore = z
  .number()
  .int()
  .min(1)
  .optional()
  .meta({ description: 'Entries before this index were pruned, and are in the archive of the log alone. Absent: none was.' })

const reachView = {
  searchedTo: z.number().int().min(0).meta({ description: 'Entries below this index were searched.' }),
  size: z.number().int().min(0).meta({ description: 'Entries that the log has: more than that while the index is being made.' }),
  archivedBefore,
}

const reachOf = ({ searchedTo, size, archivedBefore: before }: Reach) => ({ searchedTo, size, ...(before === 0 ? {} : { archivedBefore: before }) })

const pageView = z
  .object({
    entries: z.array(entryView),
    next: z.number().int().min(0).optional().meta({ description: '`from` of the next page. Absent: there is nothing more by now.' }),
    ...reachView,
  })
  .meta({ id: 'AuditPage' })

const pageOf = ({ entries, next, ...reach }: SearchResult): z.infer<typeof pageView> => ({
  ...{ entries: entries.map(viewOf), ...reachOf(reach) },
  ...(next === undefined ? {} : { next }),
})

const index = z.number().int().min(0).max(Number.MAX_SAFE_INTEGER)
const limit = z.number().int().min(1).max(1000)
const order = z.enum(['oldest', 'newest']).meta({ description: 'Which entries come first.' })
const FROM = { description: 'The index to start at, upwards where the oldest come first, else downwards. For the next page: `next` of the one before.' }
const LIMIT = { description: 'The most entries to answer.' }

interface Target {
  readonly prepared: PreparedQuery
  readonly page: Page
}

const factsOf = ({ text, blind }: PreparedQuery, more: NonNullable<Facts['public']>): Facts => ({
  public: { ...(text === '' ? {} : { query: text }), ...(blind.length === 0 ? {} : { personal: blind.map(({ name }) => name) }), ...more },
})

/** What both ways to search have in common once the query is read. */
const searchSteps = ({ searcher }: SearchDeps) => ({
  effect: 'transient' as const,
  output: pageView,
  uses: () => [],
  facts: ({ prepared, page }: Target): Facts =>
    factsOf(prepared, { order: page.order, limit: page.limit, ...(page.from === undefined ? {} : { from: page.from }) }),
  execute: (_permit: unknown, { prepared, page }: Target): Promise<SearchResult> => searcher.search(prepared, page),
  outcomeFacts: (_target: Target, { entries, searchedTo }: SearchResult): Facts => ({ public: { found: entries.length, searchedTo } }),
  respond: (_target: Target, result: SearchResult) => pageOf(result),
})

export const searchEntries = (deps: SearchDeps) =>
  operation({
    ...searchSteps(deps),
    name: 'policies.audit.search',
    summary: 'Finds entries of the audit log that have all of these values. They are there within a second or so.',
    route: { method: 'GET', path: '/v1/policies/audit/entries' },
    input: z
      .strictObject({
        from: z.coerce.number().pipe(index).optional().meta(FROM),
        limit: z.coerce.number().pipe(limit).default(100).meta(LIMIT),
        order: order.default('oldest'),
        ...filterInput,
      })
      .superRefine((input, { addIssue }) => {
        const fault = filterFault(input)
        if (fault !== undefined) addIssue(fault)
      }),
    locate: async ({ from, limit: most, order: first, ...filter }): Promise<Target> => ({
      prepared: await deps.searcher.prepare(queryOf(filter)),
      page: { order: first, from, limit: most },
    }),
  })

export const queryEntries = (deps: SearchDeps) =>
  operation({
    ...searchSteps(deps),
    name: 'policies.audit.query',
    summary: 'Finds entries of the audit log by a query with and, or, not, patterns, networks, times and personal values.',
    route: { method: 'POST', path: '/v1/policies/audit/search' },
    input: z.strictObject({
      query: queryInput.optional().meta({ description: 'Absent: all entries.' }),
      order: order.default('newest'),
      from: index.optional().meta(FROM),
      limit: limit.default(100).meta(LIMIT),
    }),
    locate: async ({ query, from, limit: most, order: first }): Promise<Target> => ({
      prepared: await deps.searcher.prepare(query ?? EVERYTHING),
      page: { order: first, from, limit: most },
    }),
  })

const countInput = z
  .strictObject({
    query: queryInput.optional().meta({ description: 'Absent: all entries.' }),
    by: z.enum([...GROUP_FIELDS, 'time']).meta({ description: 'A field of few values, or `time`.' }),
    most: z.number().int().min(1).max(1000).default(100).meta({ description: 'Not of times: the most groups to answer, those with most entries.' }),
    bucketMs: z
      .number()
      .int()
      .min(1000)
      .max(10 * 365 * 86_400_000)
      .optional()
      .meta({ description: 'Of times: how wide a group is, in milliseconds. Absent: so that there are at most 60. At most 500 groups are made.' }),
  })
  .refine(({ by, bucketMs }) => by === 'time' || bucketMs === undefined, { message: 'only groups of times have a width', path: ['bucketMs'] })

export const countEntries = ({ searcher }: SearchDeps) =>
  operation({
    name: 'policies.audit.count',
    summary: 'Counts entries of the audit log in groups: by a field, or by time.',
    effect: 'transient',
    route: { method: 'POST', path: '/v1/policies/audit/counts' },
    input: countInput,
    output: z.object({
      total: z.number().int().min(0).meta({ description: 'Entries that the query finds.' }),
      groups: z
        .array(z.object({ value: z.string(), count: z.number().int().min(0) }))
        .meta({ description: 'The largest first; of times, each with its begin, in their order, those of no entry too.' }),
      more: z.number().int().min(0).meta({ description: 'Groups that are not told.' }),
      bucketMs: z.number().int().optional().meta({ description: 'Of times: how wide a group is.' }),
      ...reachView,
    }),
    locate: async ({ query, ...input }: { readonly query?: Query | undefined } & Omit<z.infer<typeof countInput>, 'query'>) => ({
      ...input,
      prepared: await searcher.prepare(query ?? EVERYTHING),
    }),
    uses: () => [],
    facts: ({ prepared, by, bucketMs }) => factsOf(prepared, { by, ...(bucketMs === undefined ? {} : { bucketMs }) }),
    execute: (_permit, { prepared, by, most, bucketMs }) => (by === 'time' ? searcher.histogram(prepared, { bucketMs }) : searcher.count(prepared, by, most)),
    outcomeFacts: (_target, { total, searchedTo }) => ({ public: { found: total, searchedTo } }),
    respond: (_target, { total, groups, more, bucketMs, ...reach }) => ({
      ...{ total, groups: [...groups], more, ...reachOf(reach) },
      ...(bucketMs === undefined ? {} : { bucketMs }),
    }),
  })

/** No operation has this many entries but a chunk of cards; that many are answered. */
const MAX_OF_ONE = 1000

export const getOperation = ({ reader }: { readonly reader: LogReader }) =>
  operation({
    name: 'policies.audit.get',
    summary: 'The entries of one operation: its intent, items and outcome, or its refusal.',
    effect: 'transient',
    route: { method: 'GET', path: '/v1/policies/audit/operations/{operationId}' },
    input: z.strictObject({ operationId: uuid.meta({ description: 'Id of the operation', example: '0198f2c1-7a40-7c3e-9d52-6a1f0b2c3d4e' }) }),
    output: z.object({ entries: z.array(entryView), archivedBefore }),
    locate: async ({ operationId }) => ({
      operationId,
      found: await reader.search({ from: 0, limit: MAX_OF_ONE, operationId }),
      minimumIndex: await reader.minimumIndex(),
    }),
    uses: () => [],
    facts: ({ operationId }) => ({ public: { operationId } }),
    admit: ({ found, minimumIndex }) =>
      found.length > 0
        ? undefined
        : new Problem(
            'not-found',
            `The log has no entry of this operation. One that has just ended is there within a second or so.${archivedHint(minimumIndex)}`,
          ),
    execute: (_permit, { found }) => Promise.resolve(found),
    respond: ({ minimumIndex }, found) => ({ entries: found.map(viewOf), ...(minimumIndex === 0 ? {} : { archivedBefore: minimumIndex }) }),
  })
