import { type KeyId, newOperationId } from '../../core/ids.ts'
import type { Sql } from '../../core/tx.ts'
import { identityFault, LATER_ROOT_KEYS, TokenCeremonies } from '../../pkcs11/ceremonies.ts'
import { PgKeyBackupStore } from '../../pkcs11/key-backup-store.pg.ts'
import { PgRootKeyStore } from '../../pkcs11/root-key-store.pg.ts'
import { noteCeremony } from '../ceremony-notes.ts'
import type { Config } from '../config.ts'
import { tokenOptions } from '../token-options.ts'
import { CliError } from './cli-error.ts'
import { assertBothPins, currentRowMac, sealerOf, sound } from './ceremony-token.ts'
import { withStoppedService } from './stopped-service.ts'

/**
 * Adds the root keys that came with a later version than the token: those that the database has never recorded, and no others. One that was recorded and is gone is
 * lost, and with it what is under it: that token is not completed but restored. Order: the keys; then, in one transaction, their records, their backups, and the
 * note for the log. A crash between leaves keys that the service refuses the token for; the same command makes them anew.
 */
export async function completeTokenCommand({ config, token }: { readonly config: Config; readonly token?: string }): Promise<void> {
  const ceremonies = new TokenCeremonies(tokenOptions(config, token))
  await withStoppedService(config, async (sql) => {
    const store = new PgRootKeyStore(sql)
    const known = await store.load()
    const serial = known[0]?.tokenSerial
    if (serial === undefined)
      throw new CliError(
        'The database remembers no token yet, so nothing is under the keys of this one: start with a token that has none, or with an empty folder.',
      )
    const { identity } = sound(await ceremonies.show())
    const unrecorded = LATER_ROOT_KEYS.filter((id) => !known.some(({ keyId }) => keyId === id))
    const others = identity.keys.filter(({ keyId }) => !unrecorded.includes(keyId))
    const fault = identityFault({ serial, keys: known, ...(await store.changing()) }, { ...identity, keys: others })
    if (fault !== undefined) throw new CliError(`${fault} Nothing was changed. A token that lost a key is restored from its backup: gridseal token restore`)
    if (unrecorded.length === 0) return console.log(`The token ${serial} has every root key: nothing was to do.`)
    await assertUnused(sql, unrecorded)
    await assertBothPins(ceremonies)
    const rowMac = await currentRowMac(store)
    const { keys, backups } = await ceremonies.addRootKeys({ keys: unrecorded, rowMac })
    await sql.query('BEGIN')
    await store.recordAdded(keys)
    await new PgKeyBackupStore(sql).add(backups)
    const facts = { token: serial, keys: unrecorded.join(' '), backups: backups.length }
    await noteCeremony(sql, sealerOf(ceremonies, rowMac), { id: newOperationId(), operation: 'system.root-keys-added', facts })
    await sql.query('COMMIT')
    const backed = backups.length === 0 ? 'They have no backup, as the other keys of this token have none.' : 'Export the backup anew: gridseal token backup'
    console.log(`The token ${serial} has these root keys too, and the database knows them: ${unrecorded.join(', ')}. ${backed}`)
  })
}

/** What is made with each of the later root keys. */
const USERS_OF: Readonly<Record<string, string>> = { 'root:policy': 'policy_activations', 'root:pepper': 'person_passwords' }

/** A key that is not recorded and has something under it was recorded once: it is not made anew, whoever took its record away. */
async function assertUnused(sql: Sql, keys: readonly KeyId[]): Promise<void> {
  for (const key of keys) {
    const table = USERS_OF[key]
    if (table === undefined) throw new Error(`nobody knows what is under ${key}`)
    if ((await sql.query(`SELECT FROM ${table} LIMIT 1`)).length > 0)
      throw new CliError(`${key} is not recorded, and ${table} has rows that were made with it: rows of root_keys were deleted. Nothing was changed.`)
  }
}
