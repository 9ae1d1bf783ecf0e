/** A failure that is told in one line, without a stack: what is wrong, and what to do. */
export class CliError extends Error {
  override readonly name = 'CliError'
  readonly exitCode: number

  /** `exitCode`: default 1. */
  constructor(message: string, exitCode = 1) {
    super(message)
    this.exitCode = exitCode
  }
}
