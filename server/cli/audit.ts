import { existsSync, readFileSync } from 'node:fs'
import { describeReport, verifyExportedLog } from '../../clients/audit-verify.ts'

/** Prints the report; the exit code is 1 when anything is wrong. `key`: a vkey, or a file that holds one. */
export async function verifyExport({ file, key }: { readonly file: string; readonly key: string }): Promise<void> {
  const vkey = (existsSync(key) ? readFileSync(key, 'utf8') : key).trim()
  const report = await verifyExportedLog({ path: file, vkey })
  console.log(describeReport(report))
  if (!report.ok) process.exitCode = 1
}
