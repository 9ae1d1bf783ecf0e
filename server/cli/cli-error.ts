/** A failure that is told in one line, without a stack: what is wrong, and what to do. */
export class CliError extends Error {
  override readonly name = 'CliError'
}
