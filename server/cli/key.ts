import { readFileSync } from 'node:fs'
import { describeStatement, openKeyStatement } from '../../clients/key-statement.ts'
import { Refusal } from '../../clients/signed-document.ts'

/** Prints what the statement says; the exit code is 1 when it is not to be believed. `statement`: a file of the JWS, or of the answer that it came in; `trust`: a PEM file. */
export function verifyStatementFile({ statement, trust }: { readonly statement: string; readonly trust: string }): void {
  try {
    console.log(describeStatement(openKeyStatement({ text: signedIn(readFileSync(statement, 'utf8')), trustedRoot: readFileSync(trust, 'utf8') })))
  } catch (error) {
    if (!(error instanceof Refusal)) throw error
    console.log(`NOT A VALID STATEMENT: ${error.message}`)
    process.exitCode = 1
  }
}

function signedIn(text: string): string {
  if (!text.trimStart().startsWith('{')) return text
  try {
    const { signed } = JSON.parse(text) as { readonly signed?: unknown }
    return typeof signed === 'string' ? signed : ''
  } catch {
    return ''
  }
}
