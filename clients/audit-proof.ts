import { type LogKey, NoteError, openCheckpoint, parseLogKey } from '../policies/audit/checkpoint.ts'
import { type Entry, EntryError, parseEntry } from '../policies/audit/entry.ts'
import { leafHash, verifyInclusion } from '../policies/audit/merkle.ts'
import { parseProof, ProofFileError } from '../policies/audit/proof-file.ts'

export type ProofReport =
  | { readonly ok: true; readonly origin: string; readonly size: number; readonly index: number; readonly entry: Entry }
  | { readonly ok: false; readonly origin: string; readonly reason: string }

/**
 * Verifies offline that an entry is in the log. `bytes`: the entry's exact bytes; `proof`: a C2SP tlog-proof; `vkey`: the log's public key in C2SP
 * note form, which the auditor has from the ceremony and not from who brings the proof.
 * Throws a NoteError when the key will not do; a bad proof is a report.
 */
export function verifyEntryProof({ bytes, proof, vkey }: { readonly bytes: Uint8Array; readonly proof: string; readonly vkey: string }): ProofReport {
  const key = parseLogKey(vkey)
  try {
    return verify(bytes, proof, key)
  } catch (error) {
    if (error instanceof ProofFileError || error instanceof NoteError || error instanceof EntryError)
      return { ok: false, origin: key.name, reason: error.message }
    throw error
  }
}

function verify(bytes: Uint8Array, proof: string, key: LogKey): ProofReport {
  const { index, hashes, note } = parseProof(proof)
  const { origin, size, root } = openCheckpoint(note, key)
  if (!verifyInclusion({ index, size, leaf: leafHash(bytes), proof: hashes, root })) {
    return { ok: false, origin, reason: `the proof does not lead from these bytes at index ${index} to the root that the log signed over ${size} entries` }
  }
  return { ok: true, origin, size, index, entry: parseEntry(bytes) }
}

/** The report, and what the entry says, for a person to read. */
export function describeProof(report: ProofReport): string {
  if (!report.ok) return `NOT PROVEN for ${report.origin}: ${report.reason}`
  const { origin, size, index, entry } = report
  const { kind, operation, code, caller, time } = entry
  return printable(
    [
      `IN THE LOG: ${origin}, entry ${index} under the signed checkpoint over ${size}`,
      `${kind} of ${operation}${code === undefined ? '' : ` (${code})`} by ${caller.kind} ${caller.name}, ${time}`,
      JSON.stringify(entry, null, 2),
    ].join('\n'),
  )
}

/** What a terminal would obey or show otherwise (controls, directions) is written as escapes: facts hold text of callers' own choosing. */
const printable = (text: string): string =>
  text.replaceAll(/[^\P{C}\n]/gu, (character) =>
    [...Array(character.length).keys()].map((at) => `\\u${character.charCodeAt(at).toString(16).padStart(4, '0')}`).join(''),
  )
