import { existsSync, readFileSync } from 'node:fs'
import { describeProof, verifyEntryProof } from '../../clients/audit-proof.ts'
import { describeReport, verifyExportedLog } from '../../clients/audit-verify.ts'

/** Prints the report; the exit code is 1 when anything is wrong. `key`: a vkey, or a file that holds one. */
export async function verifyExport({ file, key }: { readonly file: string; readonly key: string }): Promise<void> {
  const report = await verifyExportedLog({ path: file, vkey: readKey(key) })
  console.log(describeReport(report))
  if (!report.ok) process.exitCode = 1
}

/** Prints what a proven entry says; the exit code is 1 when anything is wrong. `entry`: a file of the entry's bytes; `proof`: a `.tlog-proof`. */
export function verifyProof({ entry, proof, key }: { readonly entry: string; readonly proof: string; readonly key: string }): void {
  const report = verifyEntryProof({ bytes: readFileSync(entry), proof: readFileSync(proof, 'utf8'), vkey: readKey(key) })
  console.log(describeProof(report))
  if (!report.ok) process.exitCode = 1
}

const readKey = (key: string): string => (existsSync(key) ? readFileSync(key, 'utf8') : key).trim()
