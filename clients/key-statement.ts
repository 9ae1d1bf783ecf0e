import { type Statement, STATEMENT, STATEMENT_SERVICE, STATEMENT_TYPE } from '../kms/keys/statement.ts'
import { openSignedDocument, Refusal } from './signed-document.ts'

/** A statement of a key (`kms.key.attest`), once its signature and its chain are right. `trustedRoot`: PEM or DER. `at`: default now. Throws a {@link Refusal}. */
export function openKeyStatement({
  text,
  trustedRoot,
  at = new Date(),
}: {
  readonly text: string
  readonly trustedRoot: string
  readonly at?: Date
}): Statement {
  const content = openSignedDocument(text.trim(), { what: 'statement', type: STATEMENT_TYPE, service: STATEMENT_SERVICE, trustedRoot, at })
  const statement = STATEMENT.safeParse(content).data
  if (statement === undefined) throw new Refusal('the statement is not of this format')
  return statement
}

/** The statement for a person to read. */
export function describeStatement(statement: Statement): string {
  const lines = [`VALID: the token ${statement.token.label} (${statement.token.serial}) signed this on ${statement.statedAt}, of the key ${statement.keyId}.`]
  if (statement.residence === 'token') {
    const { class: kind, keyType, flags, uses, mechanisms } = statement.attributes
    lines.push(`It lives in the token, as a ${kind} key of type ${keyType}. The token answered:`)
    lines.push(...Object.entries(flags).map(([name, value]) => `  ${name.padEnd(18)}${value ? 'yes' : 'no'}`))
    lines.push(`  ${'may'.padEnd(18)}${uses.join(', ') || 'nothing'}`, `  ${'by'.padEnd(18)}${mechanisms.join(', ') || 'any mechanism'}`)
  } else {
    lines.push(
      `It is a key of algorithm ${statement.algorithm}, ${statement.state}, of ${statement.owner}. It lies wrapped in the database under ${statement.guarantee.wrappedBy}.`,
      `That it cannot be exported is what the service guarantees, and not the token: no operation gives it out, and its row is sealed by ${statement.guarantee.sealedBy}.`,
    )
  }
  return lines.join('\n')
}
