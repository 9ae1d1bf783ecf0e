import { createReadStream } from 'node:fs'
import { stat } from 'node:fs/promises'
import { availableParallelism } from 'node:os'
import { type LogKey, NoteError, openCheckpoint, parseLogKey } from '../policies/audit/checkpoint.ts'
import { type LogReport, LogVerifier, openByAny } from '../policies/audit/verify.ts'
import { verifyExport } from '../policies/audit/verify-export.ts'
import { verifyTiles } from '../policies/audit/verify-tiles.ts'
import { judgeCheckpoint, type WitnessPolicy } from '../policies/audit/witness-policy.ts'
import { isUrl, sourceAt } from './audit-source.ts'
import { DigestWorkers } from './audit-workers.ts'
import { printableLines } from './printable.ts'

export interface VerifySettings {
  /** A file of `GET /v1/policies/audit/export`; the folder or URL of a tlog-tiles log. */
  readonly log: string
  /** The log's public key in C2SP note form (`origin+id+base64`), which the auditor has from the ceremony and not from the log. */
  readonly vkey: string
  /** Those that signed before it, the oldest first. */
  readonly replaced?: readonly string[]
  /** Signed checkpoints kept from earlier, which the log must still contain. */
  readonly known?: readonly string[]
  /** Of a tlog-tiles log: the quorum of witnesses that its checkpoint must have. */
  readonly policy?: WitnessPolicy
  readonly onProgress?: (entries: number) => void
  /** Threads. Default: one for each core. */
  readonly threads?: number
}

/** What is shorter is read before threads have started. */
const WORTH_THREADS_BYTES = 8 * 1024 * 1024

/**
 * Verifies a whole log offline: without the service, its database or its token. Throws a NoteError when a key or a known checkpoint will not do, and what the
 * file system or the network throws; a bad log is a report.
 */
export async function verifyLog(settings: VerifySettings): Promise<LogReport> {
  const { log, vkey, replaced = [], known = [], policy, onProgress, threads = availableParallelism() } = settings
  const [key, before] = [parseLogKey(vkey), replaced.map(parseLogKey)]
  const verifier = new LogVerifier(key, { replaced: before, known: known.map((note) => openKnown(note, [...before, key])) })
  const progress = onProgress === undefined ? {} : { onProgress }
  const found = isUrl(log) ? undefined : await stat(log)
  const isExport = found?.isFile() === true
  const workers = isExport && found.size < WORTH_THREADS_BYTES ? undefined : new DigestWorkers(threads)
  try {
    if (isExport) {
      if (policy !== undefined)
        throw new NoteError('an export holds no cosignatures: of witnesses a mirror is verified (gridseal audit mirror --witness-policy), or a proof')
      const chunks = createReadStream(log, { highWaterMark: 512 * 1024 }) as AsyncIterable<Uint8Array>
      return await verifyExport(verifier, chunks, { ...progress, ...(workers === undefined ? {} : { digest: workers.lines, window: 2 * threads + 2 }) })
    }
    return await verifyTiles(verifier, sourceAt(log), {
      ...progress,
      ...(workers === undefined ? {} : { digest: workers.bundle, window: 8 * threads }),
      onCheckpoint: (note) => {
        if (policy !== undefined) assertQuorum(verifier, note, policy, [...before, key])
      },
    })
  } finally {
    await workers?.close()
  }
}

/** Verifies an exported log: a file. */
export const verifyExportedLog = ({ path, ...settings }: Omit<VerifySettings, 'log'> & { readonly path: string }): Promise<LogReport> =>
  verifyLog({ ...settings, log: path })

function openKnown(note: string, keys: readonly LogKey[]): ReturnType<typeof openCheckpoint> {
  const opened = openByAny(note, keys)
  if ('fault' in opened) throw new NoteError(`a checkpoint kept from earlier: ${opened.fault}`)
  return opened.checkpoint
}

function assertQuorum(verifier: LogVerifier, note: string, policy: WitnessPolicy, keys: readonly LogKey[]): void {
  try {
    const { cosignatures, satisfied } = judgeCheckpoint(note, policy, keys)
    if (satisfied) return
    const names = cosignatures.map(({ key }) => key.name)
    verifier.find('quorum-missing', `the checkpoint is cosigned by ${names.length === 0 ? 'none of the witnesses' : `${names.join(', ')} alone`}`)
  } catch (error) {
    if (!(error instanceof NoteError)) throw error
    verifier.find('checkpoint-invalid', error.message)
  }
}

/** The report for a person to read. */
export function describeReport(report: LogReport): string {
  const { entries, openIntents, findings, findingCount } = report
  const kinds = Object.entries(entries).map(([kind, count]) => `${count} ${kind}`)
  return printableLines([
    `${report.ok ? 'VERIFIED' : 'NOT VERIFIED'}: ${report.origin}, ${report.from === undefined ? '' : `from entry ${report.from} on, `}${report.size} entries (${kinds.join(', ')}), ${report.checkpoints} checkpoints, ${report.epochs} writer epochs`,
    ...(report.firstTime === undefined ? [] : [`from ${report.firstTime} to ${report.lastTime ?? report.firstTime}`]),
    ...(report.root === undefined ? [] : [`root ${report.root}`]),
    ...report.recoveries.map(
      ({ index, time, oldOrigin, logSize, lostSize }) =>
        `recovered at ${time} (entry ${index}): entries ${logSize} to ${lostSize} of ${oldOrigin} are not in this log; who kept them has them still`,
    ),
    ...findings.map(({ code, index, detail }) => `  ${code}${index === undefined ? '' : ` at ${index}`}: ${detail}`),
    ...(findingCount > findings.length ? [`  and ${findingCount - findings.length} more`] : []),
    ...openIntents.map(({ index, id, operation, time }) => `  open: ${operation} ${id}, begun ${time}, entry ${index}`),
  ])
}
