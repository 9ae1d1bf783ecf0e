import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { equalBytes } from '../../core/bytes.ts'
import { type KeyId, newOperationId, type OperationId } from '../../core/ids.ts'
import type { RowSealer } from '../../core/row.ts'
import { sealRow } from '../../core/sealed-records.ts'
import type { Sql } from '../../core/tx.ts'
import { adoptionRow, checkpointKeyOf, identityFault, SYSTEM_KEYS, type TokenAdoption, TokenCeremonies, type TokenIdentity } from '../../pkcs11/ceremonies.ts'
import { PgRootKeyStore } from '../../pkcs11/root-key-store.pg.ts'
import { loadRecoveries, openSuccession } from '../../policies/audit/index.ts'
import type { Config } from '../config.ts'
import { tokenOptions } from '../token-options.ts'
import { loadAdoptions, type LogHistory, logKeyOf, originAfter, recordPendingBackup, replacedKeys, verifierKey } from '../token-succession.ts'
import { CliError } from './cli-error.ts'
import { currentRowMac, sealerOf, sound } from './ceremony-token.ts'
import { withStoppedService } from './stopped-service.ts'
import { decisionOn } from './token-authorisation.ts'

export interface AdoptionOptions {
  readonly config: Config
  readonly token?: string
  /** Both holders of the token's PINs stand in for the decision of two officers. */
  readonly serviceCannotRun?: boolean
  /** The checkpoint in the data folder may be ahead of the database: the log is recovered next. */
  readonly databaseIsBehind?: boolean
}

/** Records that a restored token took the place of the one that the database knows. */
export async function adoptTokenCommand({ config, token, serviceCannotRun = false, databaseIsBehind = false }: AdoptionOptions): Promise<void> {
  const ceremonies = new TokenCeremonies(tokenOptions(config, token))
  const { identity } = sound(await ceremonies.show())
  await withStoppedService(config, async (sql) => {
    const standing = await standingOf(sql, { ceremonies, identity, sameToken: false })
    if (standing.isAdopted) {
      await recordPendingBackup({ data: config.data, sql, sealer: standing.sealer })
      return console.log(`The database knows the token ${identity.serial} as its own: nothing was to do.`)
    }
    const ceremony = standing.known.serial === identity.serial ? 'replace-checkpoint-key' : 'adopt-token'
    const authorisation = await decisionOn({
      ...standing,
      adoptions: standing.history.adoptions,
      sql,
      ceremonies,
      ceremony,
      token: identity.serial,
      serviceCannotRun,
    })
    const adoption = await adopt(config, { sql, standing, identity, authorisation, databaseIsBehind })
    console.log(
      `The token ${adoption.newSerial} took the place of ${adoption.oldSerial}. The log goes on after ${adoption.logSize} entries with a new key, which auditors are told by a way of its own:\n${verifierKey(originAfter(config.origin, standing.history), adoption.newKey)}`,
    )
  })
}

/**
 * A new checkpoint key in the same token. Order: the decision; the new key, beside the old one; the adoption, committed, which uses the decision up; the old key is
 * destroyed. A crash after the second leaves a token that the service refuses, after the third one that it takes; the same command again goes on.
 */
export async function replaceCheckpointKeyCommand({ config, token, serviceCannotRun = false }: AdoptionOptions): Promise<void> {
  const ceremonies = new TokenCeremonies(tokenOptions(config, token))
  await withStoppedService(config, async (sql) => {
    const before = sound(await ceremonies.show())
    const standing = await standingOf(sql, { ceremonies, identity: before.identity, sameToken: true })
    if (standing.isAdopted && before.checkpointLabels.length > 1) {
      const destroyed = await ceremonies.destroyOldCheckpointKeys()
      console.log(
        `The replacement that was under way has come to its end (destroyed: ${destroyed.join(', ')}). The log's key is:\n${verifierKey(originAfter(config.origin, standing.history), checkpointKeyOf(before.identity.keys))}`,
      )
      return
    }
    if (standing.isAdopted && serviceCannotRun)
      throw new CliError('The service can run with this token: two officers decide there. See: gridseal token authorise')
    const { serial } = before.identity
    const authorisation = await decisionOn({
      ...standing,
      adoptions: standing.history.adoptions,
      sql,
      ceremonies,
      ceremony: 'replace-checkpoint-key',
      token: serial,
      serviceCannotRun,
    })
    const identity = await ceremonies.makeNextCheckpointKey()
    const adoption = await adopt(config, { sql, standing, identity, authorisation })
    await ceremonies.destroyOldCheckpointKeys()
    console.log(
      `The log goes on after ${adoption.logSize} entries with a new key, which auditors are told by a way of its own; the old one is destroyed:\n${verifierKey(originAfter(config.origin, standing.history), adoption.newKey)}`,
    )
  })
}

/** A token beside what the database knows. */
interface Standing {
  readonly known: TokenIdentity
  /** With this checkpoint key and this serial. */
  readonly isAdopted: boolean
  readonly history: LogHistory
  readonly rowMac: KeyId
  readonly sealer: RowSealer
}

async function standingOf(
  sql: Sql,
  { ceremonies, identity, sameToken }: { readonly ceremonies: TokenCeremonies; readonly identity: TokenIdentity; readonly sameToken: boolean },
): Promise<Standing> {
  const store = new PgRootKeyStore(sql)
  const known = await assertSameButCheckpoint(sql, identity, { sameToken })
  const rowMac = await currentRowMac(store)
  const sealer = sealerOf(ceremonies, rowMac)
  const history = { adoptions: await loadAdoptions(store, sealer), recoveries: await loadRecoveries(sql, sealer) }
  const isSameKey = equalBytes(checkpointKeyOf(known.keys).publicKey, checkpointKeyOf(identity.keys).publicKey)
  return { known, isAdopted: known.serial === identity.serial && isSameKey, history, rowMac, sealer }
}

/** What the database knows, where the token differs from it in the checkpoint key, and where it may in the serial, and in nothing else. */
async function assertSameButCheckpoint(sql: Sql, identity: TokenIdentity, { sameToken }: { readonly sameToken: boolean }): Promise<TokenIdentity> {
  const known = await new PgRootKeyStore(sql).load()
  const serial = known[0]?.tokenSerial
  if (serial === undefined) throw new CliError('The database remembers no token yet: nothing is to be adopted. Start the service: gridseal serve')
  const newKey = checkpointKeyOf(identity.keys)
  const expected = known.map((key) => (key.keyId === SYSTEM_KEYS.checkpoint ? { keyId: key.keyId, ...newKey } : key))
  const changing = await new PgRootKeyStore(sql).changing()
  const fault = identityFault({ serial: sameToken ? serial : identity.serial, keys: expected, ...changing }, identity)
  if (fault !== undefined) throw new CliError(`${fault} It is no restored copy of the token that the database knows, serial ${serial}. Nothing was changed.`)
  return { serial, label: '', keys: known }
}

/** As the owner of the tables: the adoption, which uses the authorisation up in the same row. Then what the ceremony left in the data folder. */
async function adopt(
  config: Config,
  {
    sql,
    standing: { known, history, sealer },
    identity,
    authorisation,
    databaseIsBehind = false,
  }: {
    readonly sql: Sql
    readonly standing: Standing
    readonly identity: TokenIdentity
    readonly authorisation: OperationId | undefined
    readonly databaseIsBehind?: boolean
  },
): Promise<TokenAdoption> {
  const [oldKey, newKey] = [checkpointKeyOf(known.keys), checkpointKeyOf(identity.keys)]
  const adoption: TokenAdoption = {
    number: history.adoptions.length + 1,
    operationId: newOperationId(),
    kind: known.serial === identity.serial ? 'checkpoint-key-replaced' : 'token-restored',
    ...{ oldSerial: known.serial, newSerial: identity.serial, oldKey, newKey },
    logSize: await signedSize(config, { sql, oldKey, history, databaseIsBehind }),
    adoptedAt: new Date().toISOString(),
    ...(authorisation === undefined ? {} : { authorisation }),
  }
  await new PgRootKeyStore(sql).insertAdoption({ adoption, mac: await sealRow(sealer, adoptionRow(adoption)) })
  await recordPendingBackup({ data: config.data, sql, sealer })
  return adoption
}

/** Entries under the last checkpoint of the database, which the old key must have signed; the one in the data folder may not be ahead of it. */
async function signedSize(
  config: Config,
  {
    sql,
    oldKey,
    history,
    databaseIsBehind,
  }: { readonly sql: Sql; readonly oldKey: TokenAdoption['oldKey']; readonly history: LogHistory; readonly databaseIsBehind: boolean },
): Promise<number> {
  const key = logKeyOf(originAfter(config.origin, history), oldKey)
  const sizeOf = (note: string, where: string): number => {
    try {
      return openSuccession(note, key, replacedKeys(config.origin, history)).size
    } catch (error) {
      throw new CliError(`The checkpoint in ${where} is not by the log's key: ${error instanceof Error ? error.message : String(error)}. Nothing was changed.`)
    }
  }
  const [row] = await sql.query<{ note: string }>('SELECT note FROM audit_checkpoints ORDER BY size DESC LIMIT 1')
  const size = row === undefined ? 0 : sizeOf(row.note, 'the table audit_checkpoints')
  const file = join(config.data, 'checkpoint')
  const kept = !databaseIsBehind && existsSync(file) ? sizeOf(readFileSync(file, 'utf8'), file) : 0
  if (kept > size)
    throw new CliError(
      `${file} is a signed checkpoint over ${kept} entries, and the database has one over ${size}: it was restored from an older copy. Restore the newer one first; where it is lost for good: --database-is-behind, and then gridseal audit recover.`,
    )
  return size
}
