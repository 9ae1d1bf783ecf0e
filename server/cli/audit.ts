import { readFileSync } from 'node:fs'
import { compareCheckpoints } from '../../clients/audit-consistency.ts'
import { describeProof, verifyEntryProof } from '../../clients/audit-proof.ts'
import { sourceAt } from '../../clients/audit-source.ts'
import { describeReport, verifyLog } from '../../clients/audit-verify.ts'
import { printableLines } from '../../clients/printable.ts'
import { writeDurably } from '../../core/durable-file.ts'
import { ArchiveError, archivedEntry, NoteError, parseWitnessPolicy, type WitnessPolicy, WitnessPolicyError } from '../../policies/audit/index.ts'
import { CliError } from './cli-error.ts'
import { readKeys } from './log-keys.ts'
import { showProgress } from './progress.ts'
import { readText } from './with-client.ts'

/** `keys`: verifier keys, or files that hold one, in the order in which they signed. */
interface Trusted {
  readonly keys: readonly string[]
  /** A file of C2SP tlog-policy. */
  readonly witnessPolicy?: string
}

/** Prints the report; the exit code is 1 when anything is wrong. `known`: files of checkpoints kept from earlier. */
export async function verifyAuditLog({ log, known, ...trusted }: Trusted & { readonly log: string; readonly known: readonly string[] }): Promise<void> {
  const progress = showProgress('entries')
  try {
    const report = await told(() => verifyLog({ log, ...trust(trusted), known: known.map(readText), onProgress: progress.add }))
    progress.end()
    console.log(describeReport(report))
    if (!report.ok) process.exitCode = 1
  } finally {
    progress.end()
  }
}

/** Prints what a proven entry says; the exit code is 1 when anything is wrong. `entry`: a file of the entry's bytes; `proof`: a `.tlog-proof`. */
export async function verifyProof({ entry, proof, ...trusted }: Trusted & { readonly entry: string; readonly proof: string }): Promise<void> {
  const report = await told(() => verifyEntryProof({ bytes: readBytes(entry), proof: readText(proof), ...trust(trusted) }))
  console.log(describeProof(report))
  if (!report.ok) process.exitCode = 1
}

/** Prints whether the newer checkpoint extends the older one; the exit code is 1 where it does not. */
export async function verifyConsistency({
  older,
  newer,
  tiles,
  proof,
  ...trusted
}: Trusted & { readonly older: string; readonly newer: string; readonly tiles?: string; readonly proof?: string }): Promise<void> {
  const { vkey, replaced } = trust(trusted)
  if ((tiles === undefined) === (proof === undefined)) throw new CliError('Say what the proof is made of: --tiles DIR, or --proof FILE.')
  const by = tiles === undefined ? { proof: readText(proof ?? '') } : { tiles }
  const report = await told(() => compareCheckpoints({ older: readText(older), newer: readText(newer), vkey, replaced, ...by }))
  if (report.ok) console.log(`CONSISTENT: ${report.origin}, the log of ${report.to} entries begins with the ${report.from} of the older checkpoint`)
  else console.log(printableLines([`NOT CONSISTENT: ${report.reason}`]))
  if (!report.ok) process.exitCode = 1
}

/** Writes the bytes of an entry of an archive into a file. */
export async function writeEntry({ archive, index, out }: { readonly archive: string; readonly index: string; readonly out: string }): Promise<void> {
  if (!/^(0|[1-9]\d{0,14})$/.test(index)) throw new CliError('The index of an entry is a number, from 0 on.')
  const bytes = await archivedEntry(sourceAt(archive), Number(index)).catch((error: unknown) => {
    throw error instanceof ArchiveError ? new CliError(`${error.message}.`) : error
  })
  writeDurably(out, bytes)
}

function trust({ keys, witnessPolicy }: Trusted): { readonly vkey: string; readonly replaced: readonly string[]; readonly policy?: WitnessPolicy } {
  const all = readKeys(keys)
  return { vkey: all.at(-1) ?? '', replaced: all.slice(0, -1), ...(witnessPolicy === undefined ? {} : { policy: readWitnessPolicy(witnessPolicy) }) }
}

/** Of a file of C2SP tlog-policy. Throws a {@link CliError}. */
export function readWitnessPolicy(file: string): WitnessPolicy {
  try {
    return parseWitnessPolicy(readBytes(file))
  } catch (error) {
    throw error instanceof WitnessPolicyError ? new CliError(`${file}: ${error.message}`) : error
  }
}

function readBytes(file: string): Uint8Array {
  try {
    return readFileSync(file)
  } catch {
    throw new CliError(`${file} cannot be read.`)
  }
}

/** What the person at the terminal can mend is told without a stack. */
async function told<Result>(work: () => Result | Promise<Result>): Promise<Result> {
  try {
    return await work()
  } catch (error) {
    if (error instanceof NoteError) throw new CliError(error.message)
    if (error instanceof Error && (('code' in error && !('syscall' in error)) || error.message.startsWith('http'))) throw new CliError(error.message)
    throw error
  }
}
