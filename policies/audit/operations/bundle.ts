import { z } from 'zod'
import { Problem } from '../../../core/problem.ts'
import { type Download, operation } from '../../operation.ts'
import { encodeBundle } from '../group.ts'
import { archived } from '../prune/prune-record.ts'
import type { LogReader } from '../reader.ts'
import { TILE_WIDTH } from '../tiles.ts'
import { lastSigned, type SignedLog } from './export.ts'

/** The most bundles of one answer: 65,536 entries. */
const MAX_BUNDLES = 256
/** Entries read at once. */
const PAGE = 4 * TILE_WIDTH
const CONTENT_TYPE = 'application/octet-stream'

export const readBundles = (log: SignedLog) =>
  operation({
    name: 'policies.audit.bundle',
    summary: 'Entry bundles of the audit log (C2SP tlog-tiles), side by side, for who keeps a mirror of it (docs/audit-log.md, Tiles).',
    effect: 'transient',
    route: { method: 'GET', path: '/v1/policies/audit/bundles/{index}', produces: [CONTENT_TYPE] },
    input: z.strictObject({
      index: z.coerce
        .number()
        .int()
        .min(0)
        .max(2 ** 45)
        .meta({ description: 'Of the first bundle: it begins with entry 256 * index.', example: 0 }),
      count: z.coerce.number().int().min(1).max(MAX_BUNDLES).default(1).meta({ description: 'How many bundles.' }),
      width: z.coerce
        .number()
        .int()
        .min(1)
        .max(TILE_WIDTH)
        .default(TILE_WIDTH)
        .meta({ description: 'Entries of the last of them: less than 256 of one that is not full.' }),
    }),
    output: z.custom<never>(() => false),
    locate: async ({ index, count, width }) => {
      const from = index * TILE_WIDTH
      const to = from + (count - 1) * TILE_WIDTH + width
      return { index, count, width, from, to, signed: await lastSigned(log), minimumIndex: await log.reader.minimumIndex() }
    },
    uses: () => [],
    facts: ({ index, count, width }) => ({ public: { index, count, width } }),
    admit: ({ from, to, signed, minimumIndex }) => {
      if (to > (signed?.checkpoint.size ?? 0)) return new Problem('not-found', 'The last signed checkpoint is not over so many entries. Ask again in a second.')
      return from < minimumIndex ? archived(minimumIndex) : undefined
    },
    execute: (_permit, { from, to }) => log.reader.read(from, Math.min(from + PAGE, to)),
    respond: ({ from, to }, first): Download => ({ contentType: CONTENT_TYPE, chunks: bundleChunks(log.reader, { from, to }, first) }),
  })

/** A page at a time. Throws `integrity-failed` where an entry is gone: the answer then ends short. */
async function* bundleChunks(
  reader: LogReader,
  { from, to }: { readonly from: number; readonly to: number },
  first: Awaited<ReturnType<LogReader['read']>>,
): AsyncGenerator<Uint8Array> {
  yield encodeBundle(first.map(({ bytes }) => bytes))
  for (let at = from + first.length; at < to; at += PAGE) yield encodeBundle((await reader.read(at, Math.min(at + PAGE, to))).map(({ bytes }) => bytes))
}
