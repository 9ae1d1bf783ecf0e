import { z } from 'zod'
import { operation } from '../../operation.ts'
import { type FindingCode, FINDINGS } from '../finding.ts'
import { type IntegrityStatus, openAfter } from '../integrity-job.ts'
import type { IntegrityStore, KnownFinding, PassRecord } from '../integrity-store.ts'

const MOST = 1_000

const FINDING = z
  .strictObject({
    code: z.enum(Object.keys(FINDINGS) as [FindingCode, ...FindingCode[]]),
    subject: z.string().meta({ description: 'What it is about.', example: 'callers 0198f2c1-7a40-7c3e-9d52-6a1f0b2c3d4e' }),
    detail: z.string().meta({ description: 'What differs.' }),
    since: z.int().optional().meta({ description: 'Index of the entry that named it last: until then it was right.' }),
    foundAt: z.string(),
    remedy: z.string().meta({ description: 'What to do.' }),
  })
  .meta({ id: 'IntegrityFinding' })

const OUTPUT = z
  .strictObject({
    lastPass: z
      .strictObject({ startedAt: z.string(), endedAt: z.string(), entries: z.int(), rows: z.int(), findings: z.int() })
      .optional()
      .meta({ description: 'The last comparison of everything. Absent: there was none.' }),
    running: z
      .strictObject({ part: z.enum(['tables', 'heads', 'log', 'comparison', 'search']), done: z.int(), of: z.int().optional() })
      .optional()
      .meta({ description: 'How far this node is with a pass. Absent: it is at none.' }),
    openFindings: z.int().meta({ description: 'What was found and is still so.' }),
    findings: z.array(FINDING).meta({ description: `The oldest first, at most ${MOST}.` }),
  })
  .meta({ id: 'Integrity' })

interface Read {
  readonly last: PassRecord | undefined
  readonly open: readonly KnownFinding[]
  readonly count: number
}

export interface GetDeps {
  readonly store: Pick<IntegrityStore, 'open' | 'countOpen'>
  readonly lastPass: () => Promise<PassRecord | undefined>
  readonly status: () => IntegrityStatus
}

export const getIntegrity = ({ store, lastPass, status }: GetDeps) =>
  operation({
    name: 'policies.integrity.get',
    summary: 'What the comparison of the database with the log found, and how far it is.',
    effect: 'transient',
    route: { method: 'GET', path: '/v1/policies/integrity' },
    input: z.strictObject({}),
    output: OUTPUT,
    locate: () => Promise.resolve({}),
    uses: () => [],
    facts: () => ({}),
    execute: async (): Promise<Read> => {
      const last = await lastPass()
      return { last, open: await store.open(MOST), count: openAfter(last, await store.countOpen()) }
    },
    outcomeFacts: (_target, { count }) => ({ public: { openFindings: count } }),
    respond: (_target, { last, open, count }) => {
      const { progress } = status()
      return {
        ...(last === undefined ? {} : { lastPass: { ...last, startedAt: last.startedAt.toISOString(), endedAt: last.endedAt.toISOString() } }),
        ...(progress === undefined ? {} : { running: { part: progress.part, done: progress.done, ...(progress.of === undefined ? {} : { of: progress.of }) } }),
        openFindings: count,
        findings: open.map(({ code, subject, detail, since, foundAt }) => ({
          ...{ code, subject, detail, foundAt: foundAt.toISOString(), remedy: FINDINGS[code] },
          ...(since === undefined ? {} : { since }),
        })),
      }
    },
  })
