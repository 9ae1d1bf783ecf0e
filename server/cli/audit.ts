import { existsSync, readFileSync } from 'node:fs'
import { describeProof, verifyEntryProof } from '../../clients/audit-proof.ts'
import { describeReport, verifyExportedLog } from '../../clients/audit-verify.ts'

/** Prints the report; the exit code is 1 when anything is wrong. `keys`: vkeys, or files that hold one, in the order in which they signed. */
export async function verifyExport({ file, keys }: { readonly file: string; readonly keys: readonly string[] }): Promise<void> {
  const [vkey = '', ...replaced] = keys.map(readKey).toReversed()
  const report = await verifyExportedLog({ path: file, vkey, replaced: replaced.toReversed() })
  console.log(describeReport(report))
  if (!report.ok) process.exitCode = 1
}

/** Prints what a proven entry says; the exit code is 1 when anything is wrong. `entry`: a file of the entry's bytes; `proof`: a `.tlog-proof`. */
export function verifyProof({ entry, proof, key }: { readonly entry: string; readonly proof: string; readonly key: string }): void {
  const report = verifyEntryProof({ bytes: readFileSync(entry), proof: readFileSync(proof, 'utf8'), vkey: readKey(key) })
  console.log(describeProof(report))
  if (!report.ok) process.exitCode = 1
}

/** A verifier key, or a file that holds one. */
export const readKey = (key: string): string => (existsSync(key) ? readFileSync(key, 'utf8') : key).trim()
