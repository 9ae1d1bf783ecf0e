import type { OperationId } from '../../core/ids.ts'
import type { Row } from '../../core/row.ts'

/**
 * What the command line does with a token beside the service, and two officers decide on while it runs. `adopt-token`: the database takes a restored token
 * in place of its own. `replace-checkpoint-key`: the log gets a new key in the same token. `prune-log`: entries of the log that are in an archive leave the database,
 * which the token in use seals.
 */
export const CEREMONIES = ['adopt-token', 'replace-checkpoint-key', 'prune-log'] as const
export type Ceremony = (typeof CEREMONIES)[number]

/**
 * Two officers' decision that a ceremony may be held once, with one token, until it expires. Sealed: the ceremony checks its MAC. It is never changed; the adoption
 * of a token, or the prune, that it led to names it, and none other can.
 */
export interface CeremonyAuthorisation {
  readonly id: OperationId
  readonly ceremony: Ceremony
  /** Serial of the token that the ceremony is held with: of `adopt-token` the new one. */
  readonly token: string
  /** Of `prune-log`, and of it alone: the first entry that is kept. */
  readonly before?: number
  /** URN of who asked. Who approved stands in the log, in the entry of the intent. */
  readonly authorisedBy: string
  readonly authorisedAt: Date
  readonly expiresAt: Date
}

export const authorisationRow = (a: CeremonyAuthorisation): Row => ({
  table: 'ceremony_authorisations',
  schema: 1,
  id: a.id,
  version: 1,
  columns: {
    ceremony: a.ceremony,
    token: a.token,
    before: a.before,
    authorised_by: a.authorisedBy,
    authorised_at: a.authorisedAt.toISOString(),
    expires_at: a.expiresAt.toISOString(),
  },
})

export interface Wanted {
  readonly ceremony: Ceremony
  readonly token: string
  readonly before?: number
  readonly now: Date
  /** Ids that adoptions and prunes name. */
  readonly used: ReadonlySet<string>
}

/** The authorisation that a ceremony may be held by: the one that lasts longest. */
export const authorisationOf = (
  authorisations: readonly CeremonyAuthorisation[],
  { ceremony, token, before, now, used }: Wanted,
): CeremonyAuthorisation | undefined =>
  authorisations
    .filter((one) => one.ceremony === ceremony && one.token === token && one.before === before && one.expiresAt > now && !used.has(one.id))
    .toSorted((a, b) => b.expiresAt.getTime() - a.expiresAt.getTime())[0]
