import { databaseClock } from '../../core/database-clock.pg.ts'
import type { OperationId } from '../../core/ids.ts'
import type { RowSealer } from '../../core/row.ts'
import type { Sql } from '../../core/tx.ts'
import { authorisationOf, type Ceremony, PgCeremonyAuthorisationStore } from '../../kms/root-keys/index.ts'
import type { TokenAdoption, TokenCeremonies } from '../../pkcs11/ceremonies.ts'
import { PgPruneStore } from '../../policies/audit/index.ts'
import type { AskOptions } from './api-command.ts'
import { CliError } from './cli-error.ts'
import { askOrHeld, heldLines } from './hold.ts'
import { assertBothPins } from './ceremony-token.ts'
import { assertReach, withClient } from './with-client.ts'

/** Asks for the decision on a ceremony, which another officer approves. */
export async function authoriseCeremonyCommand({
  ceremony,
  serial,
  before,
  reason,
  hours,
  ...options
}: AskOptions & {
  readonly ceremony: string
  readonly serial: string
  readonly before?: string
  readonly reason: string
  readonly hours: string
}): Promise<void> {
  if ((ceremony === 'prune-log') !== (before !== undefined)) throw new CliError('--before INDEX goes with prune-log, and only with it.')
  if (!/^[1-9]\d?$/.test(hours)) throw new CliError('--hours is a number of hours, 1 to 72.')
  assertReach(options)
  const body = { ceremony, token: serial, ...(before === undefined ? {} : { before: parseIndex(before) }), reason, hours: Number(hours) }
  const asked = await withClient(options, (client) => askOrHeld(() => client.post<object>('/v1/kms/root-keys/ceremonies', body)))
  if (!('holdId' in asked)) throw new CliError('The service authorised it without an approval. That is not as it should be: look at its version.')
  const { holdId } = asked
  console.log(options.json === true ? JSON.stringify({ holdId }) : heldLines(holdId).join('\n'))
}

/** The first entry that a prune keeps. Throws a {@link CliError}. */
export function parseIndex(text: string): number {
  const index = /^[1-9]\d{0,14}$/.test(text) ? Number(text) : Number.NaN
  if (index % 256 !== 0) throw new CliError('--before is the index of an entry, a multiple of 256: archives are cut where tiles end.')
  return index
}

/** Ids of decisions that something names which they led to. */
export async function usedDecisions(sql: Sql, sealer: RowSealer, adoptions: readonly Pick<TokenAdoption, 'authorisation'>[]): Promise<ReadonlySet<string>> {
  const prunes = await new PgPruneStore({ sql, sealer }).all()
  return new Set([...adoptions, ...prunes].flatMap(({ authorisation }) => authorisation ?? []))
}

/**
 * By what a ceremony may be held: the id of two officers' decision, each row of which bears the token's MAC; or undefined, where both holders of its PINs stand in
 * for them. Throws a {@link CliError} where there is neither.
 */
export async function decisionOn({
  sql,
  ceremonies,
  sealer,
  adoptions,
  ceremony,
  token,
  before,
  serviceCannotRun,
}: {
  readonly sql: Sql
  readonly ceremonies: TokenCeremonies
  readonly sealer: RowSealer
  readonly adoptions: readonly TokenAdoption[]
  readonly ceremony: Ceremony
  readonly token: string
  /** Of `prune-log`. */
  readonly before?: number
  readonly serviceCannotRun: boolean
}): Promise<OperationId | undefined> {
  if (serviceCannotRun) {
    await assertBothPins(ceremonies)
    return undefined
  }
  const authorisations = await new PgCeremonyAuthorisationStore({ sql, sealer }).unexpired()
  const used = await usedDecisions(sql, sealer, adoptions)
  const kept = before === undefined ? {} : { before }
  const authorisation = authorisationOf(authorisations, { ceremony, token, ...kept, now: await databaseClock(sql)(), used })
  if (authorisation === undefined)
    throw new CliError(
      [
        'Two officers have not decided on this, or it was done already, or their decision has expired. Nothing was changed. While the service runs:',
        `  gridseal token authorise ${ceremony} --serial ${token}${before === undefined ? '' : ` --before ${before}`} --reason ...`,
        ...(ceremony === 'prune-log'
          ? []
          : [
              'Where the service cannot run, since its token is destroyed or a ceremony was cut off, both holders of the token’s PINs stand in for them, and the log says so: --service-cannot-run',
            ]),
      ].join('\n'),
    )
  return authorisation.id
}
