/** What unknown devices share, of one name or of one network: see LoginThrottle, which has the same on each node. */
export interface Budget {
  readonly key: string
  /** Attempts that are taken at once. */
  readonly burst: number
  /** One more comes each so many milliseconds. */
  readonly everyMs: number
}

/**
 * Attempts to log in, counted over all nodes and over restarts. Trusted for no more than that: who can write the database can set a count back. A database that
 * cannot be reached is no way around: logins need it too.
 */
export interface LoginBudgets {
  /** How many milliseconds who takes one of each has to wait; undefined: they need not. Counts nothing. */
  waitMs(budgets: readonly Budget[]): Promise<number | undefined>
  /** Takes one of each, or none: then the milliseconds to wait. */
  take(budgets: readonly Budget[]): Promise<number | undefined>
  giveBack(budgets: readonly Budget[]): Promise<void>
  /** Wrong codes with the right password in a row, this one among them. */
  addWrongCode(personId: string): Promise<number>
  forgetWrongCodes(personId: string): Promise<void>
}
