/** What can be wrong with what the database says of the log. Found means: the sequencer stops and does not skip. */
export type LogFaultCode =
  | 'group-mac' // the token did not MAC this group
  | 'group-chain' // the group does not follow the one before it: an edited or exchanged group
  | 'group-gap' // a group before this one is missing
  | 'group-malformed' // MACed, and yet not a bundle of entries of version 1 with their own numbers
  | 'database-behind' // the database is older than what the service signed
  | 'history-changed' // the stored tree is not an extension of the one that was signed
  | 'checkpoint-invalid' // a stored checkpoint is not the log key's
  | 'head-inconsistent' // the stored head does not follow from the entries

/** Stops the log until a person has looked. The message says what was found, where, and what it means. */
export class LogFault extends Error {
  override readonly name = 'LogFault'
  readonly code: LogFaultCode

  constructor(code: LogFaultCode, message: string, options?: ErrorOptions) {
    super(`audit log ${code}: ${message}`, options)
    this.code = code
  }
}
