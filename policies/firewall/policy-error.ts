import type { Fault } from '../../core/problem.ts'

/** A policy that cannot be used. Each fault says where, what was found and what was expected; nothing of the policy is taken. */
export class PolicyError extends Error {
  override readonly name = 'PolicyError'
  readonly faults: readonly Fault[]

  constructor(faults: readonly Fault[]) {
    super(`the policy cannot be used:\n${faults.map((fault) => `  ${formatFault(fault)}`).join('\n')}`)
    this.faults = faults
  }
}

export const formatFault = ({ line, column, message }: Fault): string =>
  line === undefined ? message : `line ${String(line)}, column ${String(column ?? 1)}: ${message}`
