import { type LogKey, NoteError, parseLogKey } from '../policies/audit/checkpoint.ts'
import { type Entry, EntryError, parseEntry } from '../policies/audit/entry.ts'
import { leafHash, verifyInclusion } from '../policies/audit/merkle.ts'
import { parseProof, ProofFileError } from '../policies/audit/proof-file.ts'
import { openByAny } from '../policies/audit/verify.ts'
import { judgeCheckpoint, type WitnessPolicy } from '../policies/audit/witness-policy.ts'
import { printableLines } from './printable.ts'

export type ProofReport =
  | {
      readonly ok: true
      readonly origin: string
      readonly size: number
      readonly index: number
      readonly entry: Entry
      /** The checkpoint is by a key that another took the place of since. */
      readonly replaced: boolean
      /** Names of the policy's witnesses that cosigned the checkpoint. */
      readonly witnesses: readonly string[]
    }
  | { readonly ok: false; readonly origin: string; readonly reason: string }

export interface EntryProof {
  /** The entry's exact bytes. */
  readonly bytes: Uint8Array
  /** A C2SP tlog-proof. */
  readonly proof: string
  /** The log's public key in C2SP note form, which the auditor has from the ceremony and not from who brings the proof. */
  readonly vkey: string
  /** Those that signed before it, the oldest first. */
  readonly replaced?: readonly string[]
  /** The quorum of witnesses that the checkpoint must have. */
  readonly policy?: WitnessPolicy
}

/** Verifies offline that an entry is in the log. Throws a NoteError when a key will not do; a bad proof is a report. */
export function verifyEntryProof({ bytes, proof, vkey, replaced = [], policy }: EntryProof): ProofReport {
  const keys = [...replaced, vkey].map(parseLogKey)
  try {
    return verify(bytes, proof, keys, policy)
  } catch (error) {
    if (error instanceof ProofFileError || error instanceof NoteError || error instanceof EntryError)
      return { ok: false, origin: originOf(keys), reason: error.message }
    throw error
  }
}

const originOf = (keys: readonly LogKey[]): string => keys.at(-1)?.name ?? ''

function verify(bytes: Uint8Array, proof: string, keys: readonly LogKey[], policy: WitnessPolicy | undefined): ProofReport {
  const { index, hashes, note } = parseProof(proof)
  const opened = openByAny(note, keys)
  if ('fault' in opened) throw new NoteError(opened.fault)
  const { origin, size, root } = opened.checkpoint
  if (!verifyInclusion({ index, size, leaf: leafHash(bytes), proof: hashes, root })) {
    return { ok: false, origin, reason: `the proof does not lead from these bytes at index ${index} to the root that the log signed over ${size} entries` }
  }
  const judged = policy && judgeCheckpoint(note, policy, keys)
  const witnesses = judged?.cosignatures.map(({ key }) => key.name) ?? []
  if (judged?.satisfied === false)
    return { ok: false, origin, reason: `the checkpoint lacks witnesses: it has ${witnesses.join(', ') || 'none of the policy'}` }
  return { ok: true, origin, size, index, entry: parseEntry(bytes), replaced: opened.signer < keys.length - 1, witnesses }
}

/** The report, and what the entry says, for a person to read. */
export function describeProof(report: ProofReport): string {
  if (!report.ok) return printableLines([`NOT PROVEN for ${report.origin}: ${report.reason}`])
  const { origin, size, index, entry, replaced, witnesses } = report
  const { kind, operation, code, caller, time } = entry
  return printableLines([
    `IN THE LOG: ${origin}, entry ${index} under the signed checkpoint over ${size}`,
    ...(replaced ? ['by a key that was replaced since: believe it where you know that the checkpoint is from before'] : []),
    ...(witnesses.length > 0 ? [`cosigned by ${witnesses.join(', ')}`] : []),
    `${kind} of ${operation}${code === undefined ? '' : ` (${code})`} by ${caller.kind} ${caller.name}, ${time}`,
    ...JSON.stringify(entry, null, 2).split('\n'),
  ])
}
