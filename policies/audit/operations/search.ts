import { z } from 'zod'
import { base64 } from '../../../core/bytes.ts'
import { UUID_PATTERN } from '../../../core/ids.ts'
import { Problem } from '../../../core/problem.ts'
import { operation } from '../../operation.ts'
import type { FoundEntry, LogReader } from '../reader.ts'

const uuid = z.string().regex(UUID_PATTERN, 'not an operation id')
const name = z.string().min(1).max(256)

const entryView = z.object({
  index: z.number().int().min(0).meta({ description: 'Its place in the log, from 0.' }),
  bytes: z.string().meta({ description: 'Base64 of the exact bytes that the log hashes.' }),
  entry: z.record(z.string(), z.unknown()).meta({ description: 'The same, read. Format: docs/audit-log.md.' }),
})

const viewOf = ({ index, bytes, entry }: FoundEntry): z.infer<typeof entryView> => ({ index, bytes: base64(bytes), entry: { ...entry } })

export const searchEntries = ({ reader }: { readonly reader: LogReader }) =>
  operation({
    name: 'policies.audit.search',
    summary: 'Finds entries of the audit log, in the order of the log. They are there within a second or so.',
    effect: 'transient',
    route: { method: 'GET', path: '/v1/policies/audit/entries' },
    input: z.strictObject({
      from: z.coerce
        .number()
        .int()
        .min(0)
        .max(Number.MAX_SAFE_INTEGER)
        .default(0)
        .meta({ description: 'The index to start at. For the next page: the last index and one.' }),
      limit: z.coerce.number().int().min(1).max(1000).default(100).meta({ description: 'The most entries to answer.' }),
      operationId: uuid.optional().meta({ description: 'Of this operation.', example: '0198f2c1-7a40-7c3e-9d52-6a1f0b2c3d4e' }),
      operation: name.optional().meta({ description: 'Of operations of this name.', example: 'kms.key.sign' }),
      caller: name.optional().meta({ description: 'Of this caller, as its URN.', example: 'urn:gridseal:module:billing' }),
      code: name.optional().meta({ description: 'With this code: `ok`, or that of a problem.', example: 'forbidden' }),
      rule: name.optional().meta({ description: 'That this rule decided, or this grant: `grant:` and its id.', example: 'internet-nobody' }),
    }),
    output: z.object({ entries: z.array(entryView) }),
    locate: (input) => Promise.resolve(input),
    uses: () => [],
    facts: ({ from, limit, operationId, operation: asked, caller, code, rule }) => ({
      public: {
        from,
        limit,
        ...(operationId === undefined ? {} : { operationId }),
        ...(asked === undefined ? {} : { operation: asked }),
        ...(caller === undefined ? {} : { caller }),
        ...(code === undefined ? {} : { code }),
        ...(rule === undefined ? {} : { rule }),
      },
    }),
    execute: (_permit, filter) => reader.search(filter),
    outcomeFacts: (_target, found) => ({ public: { found: found.length } }),
    respond: (_target, found) => ({ entries: found.map(viewOf) }),
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
    output: z.object({ entries: z.array(entryView) }),
    locate: async ({ operationId }) => ({ operationId, found: await reader.search({ from: 0, limit: MAX_OF_ONE, operationId }) }),
    uses: () => [],
    facts: ({ operationId }) => ({ public: { operationId } }),
    admit: ({ found }) =>
      found.length > 0
        ? undefined
        : new Problem('not-found', 'The log has no entry of this operation. One that has just ended is there within a second or so.'),
    execute: (_permit, { found }) => Promise.resolve(found),
    respond: (_target, found) => ({ entries: found.map(viewOf) }),
  })
