import { createReadStream } from 'node:fs'
import { createInterface } from 'node:readline'
import { openCheckpoint, isSignedBy, parseLogKey } from '../policies/audit/checkpoint.ts'
import { type LogReport, LogVerifier } from '../policies/audit/verify.ts'

/**
 * Verifies an exported log offline. `vkey` is the log's public key in C2SP note form (`origin+id+base64`), which the auditor has from the
 * ceremony and not from the file; `replaced` are those that signed before it, the oldest first; `known` are signed checkpoints kept from earlier, which the log
 * must still contain.
 * Throws a NoteError when the key or a known checkpoint will not do, and what the file system throws; a bad log is a report.
 */
export async function verifyExportedLog({
  path,
  vkey,
  replaced = [],
  known = [],
}: {
  readonly path: string
  readonly vkey: string
  readonly replaced?: readonly string[]
  readonly known?: readonly string[]
}): Promise<LogReport> {
  const key = parseLogKey(vkey)
  const before = replaced.map(parseLogKey)
  const verifier = new LogVerifier(key, {
    replaced: before,
    known: known.map((note) => openCheckpoint(note, before.find((old) => isSignedBy(note, old)) ?? key)),
  })
  const lines = createInterface({ input: createReadStream(path), crlfDelay: Number.POSITIVE_INFINITY })
  for await (const line of lines) verifier.add(line)
  return verifier.finish()
}

/** The report for a person to read. */
export function describeReport(report: LogReport): string {
  const { entries, openIntents, findings, findingCount } = report
  const kinds = Object.entries(entries).map(([kind, count]) => `${count} ${kind}`)
  return [
    `${report.ok ? 'VERIFIED' : 'NOT VERIFIED'}: ${report.origin}, ${report.size} entries (${kinds.join(', ')}), ${report.checkpoints} checkpoints, ${report.epochs} writer epochs`,
    ...(report.firstTime === undefined ? [] : [`from ${report.firstTime} to ${report.lastTime ?? report.firstTime}`]),
    ...(report.root === undefined ? [] : [`root ${report.root}`]),
    ...findings.map(({ code, index, detail }) => `  ${code}${index === undefined ? '' : ` at ${index}`}: ${detail}`),
    ...(findingCount > findings.length ? [`  and ${findingCount - findings.length} more`] : []),
    ...openIntents.map(({ index, id, operation, time }) => `  open: ${operation} ${id}, begun ${time}, entry ${index}`),
  ].join('\n')
}
