import { z } from 'zod'
import { utf8 } from '../../../core/bytes.ts'
import { Problem } from '../../../core/problem.ts'
import type { Download } from '../../operation.ts'
import { operation } from '../../operation.ts'
import { type Checkpoint, type LogKey, openSuccession, type ReplacedKey } from '../checkpoint.ts'
import { encodeExportLine } from '../export.ts'
import type { LogReader } from '../reader.ts'

export interface SignedLog {
  readonly reader: LogReader
  readonly key: LogKey
  /** Keys that signed before it. */
  readonly replaced: readonly ReplacedKey[]
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
      key: z.string().meta({ description: 'The public key in C2SP note form. Compare it with the one from the key ceremony.' }),
      size: z.number().int().min(0),
    }),
    locate: () => lastSigned(log).then((signed) => ({ signed })),
    uses: () => [],
    facts: ({ signed }) => sizeFact(signed),
    admit: ({ signed }) => nothingSigned(signed),
    execute: (_permit, { signed }) => Promise.resolve(signed),
    respond: (_target, signed) => ({ note: signed?.note ?? '', key: log.key.vkey, size: signed?.checkpoint.size ?? 0 }),
  })

/** Entries read at once. */
const PAGE = 1000

export const exportLog = (log: SignedLog) =>
  operation({
    name: 'policies.audit.export',
    summary: 'The whole audit log up to its last signed checkpoint, for offline verification (docs/audit-log.md, Export).',
    effect: 'transient',
    route: { method: 'GET', path: '/v1/policies/audit/export', produces: 'application/x-ndjson' },
    input: z.strictObject({}),
    output: z.custom<never>(() => false),
    locate: () => lastSigned(log).then((signed) => ({ signed })),
    uses: () => [],
    facts: ({ signed }) => sizeFact(signed),
    admit: ({ signed }) => nothingSigned(signed),
    execute: (_permit, { signed }) => Promise.resolve(signed?.checkpoint.size ?? 0),
    respond: (_target, size): Download => ({
      contentType: 'application/x-ndjson',
      fileName: `audit-log-${size}.ndjson`,
      chunks: exportChunks({ reader: log.reader, key: log.key, size }),
    }),
  })

/** The lines of an export, a page at a time: each entry, and each checkpoint where its size is reached. Throws `integrity-failed` where an entry is gone: the file then ends short. */
export async function* exportChunks({
  reader,
  key,
  size,
}: {
  readonly reader: LogReader
  readonly key: LogKey
  readonly size: number
}): AsyncGenerator<Uint8Array> {
  yield utf8(encodeExportLine({ kind: 'header', origin: key.name, vkey: key.vkey }))
  for (let from = 0; from < size; from += PAGE) {
    const to = Math.min(from + PAGE, size)
    const [entries, checkpoints] = await Promise.all([reader.read(from, to), reader.checkpoints(from, to)])
    const noteAt = new Map(checkpoints.map((one) => [one.size, one.note]))
    const lines = entries.map(({ index, bytes }) => {
      const note = noteAt.get(index + 1)
      return encodeExportLine({ kind: 'entry', index, bytes }) + (note === undefined ? '' : encodeExportLine({ kind: 'checkpoint', note }))
    })
    yield utf8(lines.join(''))
  }
}
