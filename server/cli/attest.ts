import { readFileSync } from 'node:fs'
import { AttestInputError, describeResult, verifyResultText } from '../../clients/attest-verify.ts'
import { CliError } from './cli-error.ts'

/** Prints what the result says; the exit code is 1 when anything is wrong. `result`: a file of the JWT; `keys`: a file of the JWK Set. `at`: default now. */
export function verifyResultFile({
  result,
  keys,
  nonce,
  at = new Date().toISOString(),
}: {
  readonly result: string
  readonly keys: string
  readonly nonce?: string
  readonly at?: string
}): void {
  try {
    const report = verifyResultText({ token: readFileSync(result, 'utf8'), keys: readFileSync(keys, 'utf8'), at, ...(nonce === undefined ? {} : { nonce }) })
    console.log(describeResult(report))
    if (!report.ok) process.exitCode = 1
  } catch (error) {
    throw error instanceof AttestInputError ? new CliError(error.message) : error
  }
}
