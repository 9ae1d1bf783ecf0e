import { z } from 'zod'
import { Problem } from '../../../core/problem.ts'
import type { Download } from '../../operation.ts'
import { operation } from '../../operation.ts'
import { type Checkpoint, type LogKey, openSuccession, type ReplacedKey } from '../checkpoint.ts'
import { csvEntry, csvHeader } from '../export/csv.ts'
import { ocsfEvent } from '../export/ocsf.ts'
import { beginsAt, entryLines, exportChunks } from '../export/stream.ts'
import type { TimeRange } from '../export/time-range.ts'
import { archived } from '../prune/prune-record.ts'
import type { LogReader } from '../reader.ts'

export interface SignedLog {
  readonly reader: LogReader
  readonly key: LogKey
  /** Keys that signed before it. */
  readonly replaced: readonly ReplacedKey[]
  /** The newest note that satisfies the policy of witnesses, with their cosignatures. Default: there is none. */
  readonly newestWitnessed?: () => Promise<string | undefined>
}

/** What an export needs besides. */
export interface ExportedLog extends SignedLog {
  /** Below a size: where the entries of a time lie. */
  readonly placesOfTime: (range: TimeRange, size: number) => Promise<{ readonly from: number; readonly to: number }>
  /** Of the product. */
  readonly version: string
}

export interface Signed {
  readonly note: string
  readonly checkpoint: Checkpoint
}

/** The last signed checkpoint. Throws a NoteError (to the caller `internal`) when the database holds one that is not the log's. */
export async function lastSigned({ reader, key, replaced }: SignedLog): Promise<Signed | undefined> {
  const note = await reader.lastCheckpoint()
  return note === undefined ? undefined : { note, checkpoint: openSuccession(note, key, replaced) }
}

const nothingSigned = (signed: Signed | undefined): Problem | undefined =>
  signed === undefined ? new Problem('not-found', 'The log has no signed checkpoint yet. Ask again in a second.') : undefined

const sizeFact = (signed: Signed | undefined) => (signed === undefined ? {} : { public: { size: signed.checkpoint.size } })

export const getCheckpoint = (log: SignedLog) =>
  operation({
    name: 'policies.audit.checkpoint',
    summary: 'The last signed checkpoint of the audit log (C2SP tlog-checkpoint). Keep it: a later export must still contain it.',
    effect: 'transient',
    route: { method: 'GET', path: '/v1/policies/audit/checkpoint' },
    input: z.strictObject({}),
    output: z.object({
      note: z.string().meta({ description: 'The signed note, as it stands.' }),
      witnessed: z.string().optional().meta({
        description: 'The newest note that enough witnesses have cosigned, with their cosignatures; absent where the log has no witnesses, or none yet.',
      }),
      key: z.string().meta({ description: 'The public key in C2SP note form. Compare it with the one from the key ceremony.' }),
      size: z.number().int().min(0),
    }),
    locate: async () => {
      const [signed, witnessed] = await Promise.all([lastSigned(log), log.newestWitnessed?.()])
      return { signed, witnessed }
    },
    uses: () => [],
    facts: ({ signed }) => sizeFact(signed),
    admit: ({ signed }) => nothingSigned(signed),
    execute: (_permit, { signed }) => Promise.resolve(signed),
    respond: ({ witnessed }, signed) => ({
      note: signed?.note ?? '',
      ...(witnessed === undefined ? {} : { witnessed }),
      key: log.key.vkey,
      size: signed?.checkpoint.size ?? 0,
    }),
  })

/** By format: what a line is. `ndjson` is what a verifier takes; the others are for people and their programs, which verify nothing. */
const FORMATS = {
  ndjson: { contentType: 'application/x-ndjson', extension: 'ndjson' },
  csv: { contentType: 'text/csv; charset=utf-8; header=present', extension: 'csv' },
  ocsf: { contentType: 'application/x-ndjson', extension: 'ocsf.ndjson' },
} as const satisfies Record<string, { readonly contentType: string; readonly extension: string }>
type Format = keyof typeof FORMATS

const INDEX = z.coerce.number().int().min(0).max(Number.MAX_SAFE_INTEGER)
const TIME = z.iso.datetime({ offset: true, error: 'a time with its offset (RFC 3339): 2026-11-26T18:00:00+08:00' })
const INPUT = z
  .strictObject({
    format: z
      .enum(['ndjson', 'csv', 'ocsf'])
      .default('ndjson')
      .meta({ description: '`ndjson`: for gridseal audit verify. `csv`: RFC 4180. `ocsf`: events of OCSF 1.9.0, one JSON object a line.' }),
    from: INDEX.default(0).meta({ description: 'The index to start at. To go on with an export that was cut off: that of its last line.' }),
    to: INDEX.optional().meta({ description: 'The index to end before. Absent: what is signed.' }),
    since: TIME.optional().meta({ description: 'Entries written from then on, by their own time.' }),
    until: TIME.optional().meta({ description: 'Entries written before then.' }),
  })
  .refine(({ format, since, until }) => format !== 'ndjson' || (since ?? until) === undefined, 'a verifier takes no times, but from and to')

interface Asked {
  readonly format: Format
  readonly from: number
  readonly to?: number | undefined
  readonly since?: string | undefined
  readonly until?: string | undefined
}

export const exportLog = ({ placesOfTime, version, ...log }: ExportedLog) =>
  operation({
    name: 'policies.audit.export',
    summary: 'The audit log up to its last signed checkpoint, or a part of it: for offline verification, as CSV, or as OCSF events (docs/audit-export.md).',
    effect: 'transient',
    route: { method: 'GET', path: '/v1/policies/audit/export', produces: ['application/x-ndjson', 'text/csv'] },
    input: INPUT,
    output: z.custom<never>(() => false),
    locate: async (asked: Asked) => {
      const signed = await lastSigned(log)
      const size = signed?.checkpoint.size ?? 0
      return { signed, asked, to: Math.min(asked.to ?? size, size), minimumIndex: await log.reader.minimumIndex() }
    },
    uses: () => [],
    facts: ({ signed, asked: { format, from, since, until }, to }) => ({
      public: {
        ...sizeFact(signed).public,
        ...{ format, from, to },
        ...(since === undefined ? {} : { since }),
        ...(until === undefined ? {} : { until }),
      },
    }),
    admit: ({ signed, asked, to, minimumIndex }) => {
      const unsigned = nothingSigned(signed)
      if (unsigned !== undefined) return unsigned
      if (asked.from > to) return new Problem('conflict', `There is nothing from ${asked.from} on: the export would end before ${to}.`)
      return asked.from < minimumIndex ? archived(minimumIndex) : undefined
    },
    execute: async (_permit, { asked: { format, from, since, until }, to }) => {
      if (format === 'ndjson') return { from, to, begins: await beginsAt(log.reader, from) }
      if ((since ?? until) === undefined) return { from, to, begins: undefined }
      const places = await placesOfTime({ since: asDate(since), until: asDate(until) }, to)
      return { from: Math.max(from, places.from), to: Math.min(to, places.to), begins: undefined }
    },
    respond: ({ asked, to: end }, { from, to, begins }): Download => {
      const { contentType, extension } = FORMATS[asked.format]
      const range = { reader: log.reader, from, to }
      const times = { since: asDate(asked.since), until: asDate(asked.until) }
      return {
        contentType,
        fileName: `audit-log-${asked.from}-${end}.${extension}`,
        chunks:
          asked.format === 'ndjson'
            ? exportChunks({ ...range, key: log.key, begins })
            : asked.format === 'csv'
              ? entryLines({ ...range, ...times, header: csvHeader(), line: csvEntry })
              : entryLines({ ...range, ...times, header: '', line: (found) => `${JSON.stringify(ocsfEvent(found, { origin: log.key.name, version }))}\n` }),
      }
    },
  })

const asDate = (time: string | undefined): Date | undefined => (time === undefined ? undefined : new Date(time))
