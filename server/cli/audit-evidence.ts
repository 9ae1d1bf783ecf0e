import { existsSync } from 'node:fs'
import { describeEvidence, openEvidence } from '../../clients/audit-evidence.ts'
import { printableLines } from '../../clients/printable.ts'
import { Refusal } from '../../clients/signed-document.ts'
import { createDurably } from '../../core/durable-file.ts'
import { NoteError } from '../../policies/audit/index.ts'
import { uuidOf } from './api-command.ts'
import { readKeys } from './log-keys.ts'
import { indexOf } from './audit-export.ts'
import { CliError } from './cli-error.ts'
import { assertReach, readText, type ReachOptions, withClient } from './with-client.ts'

export interface EvidenceOptions extends ReachOptions {
  readonly operation?: readonly string[]
  readonly from?: string
  readonly to?: string
  readonly out: string
}

/** Has a running service make an evidence pack, and writes it into a file that is not there yet. */
export async function evidenceCommand({ operation, from, to, out, ...options }: EvidenceOptions): Promise<void> {
  assertReach(options)
  if (existsSync(out)) throw new CliError(`${out} is there already.`)
  const asked = { ...(operation === undefined ? {} : { operations: operation.map((id) => uuidOf(id, 'an operation')) }), ...rangeOf(from, to) }
  createDurably(out, await withClient(options, (client) => client.downloadPost('/v1/policies/audit/evidence', asked)))
  console.log(`${out}: gridseal audit verify-evidence checks it, offline`)
}

const rangeOf = (from: string | undefined, to: string | undefined): object => ({
  ...(from === undefined ? {} : { from: indexOf(from) }),
  ...(to === undefined ? {} : { to: indexOf(to) }),
})

/** Prints what a pack shows; the exit code is 1 when it is not to be believed. */
export function verifyEvidenceFile({
  file,
  keys,
  trust,
  at,
}: {
  readonly file: string
  readonly keys: readonly string[]
  readonly trust: string
  readonly at?: string
}): void {
  const time = at === undefined ? new Date() : new Date(at)
  if (Number.isNaN(time.getTime())) throw new CliError(`${String(at)} is no time (RFC 3339).`)
  try {
    console.log(describeEvidence(openEvidence(readText(file), { keys: readKeys(keys), trustedRoot: readText(trust), at: time })))
  } catch (error) {
    if (!(error instanceof Refusal) && !(error instanceof NoteError)) throw error
    console.log(printableLines([`NOT VERIFIED: ${error.message}`]))
    process.exitCode = 1
  }
}
