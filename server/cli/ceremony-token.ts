import type { KeyId } from '../../core/ids.ts'
import type { RowSealer } from '../../core/row.ts'
import { generationOf, SYSTEM_KEYS, type TokenCeremonies, type TokenIdentity, type TokenShown } from '../../pkcs11/ceremonies.ts'
import type { PgRootKeyStore } from '../../pkcs11/root-key-store.pg.ts'
import { CliError } from './cli-error.ts'

/** The token as a ceremony has it, without a lane. */

/** The generation that rows are sealed with. */
export async function currentRowMac(store: PgRootKeyStore): Promise<KeyId> {
  const generations = await store.generations()
  return generations.find(({ record }) => record.state === 'current' && generationOf(record).key === 'row-mac')?.record.identity.keyId ?? SYSTEM_KEYS.rowMac
}

/** Row MACs by a token that no lane holds. */
export const sealerOf = (ceremonies: TokenCeremonies, rowMac: KeyId): RowSealer => ({
  macRows: (rows) => ceremonies.macRows(rows, rowMac),
  assertRows: async (rows) => {
    const right = await ceremonies.checkRows(rows)
    const wrong = rows.find((_, at) => right[at] !== true)
    if (wrong !== undefined) throw new CliError(`The row ${wrong.row.id} of ${wrong.row.table} is not what this token sealed. Nothing was changed.`)
  },
})

/** Nothing of it is unfinished, and it lacks no root key but those that came with a later version. */
export function sound(shown: TokenShown): TokenShown & { readonly identity: TokenIdentity } {
  const { identity } = shown
  if (shown.unfinished)
    throw new CliError('The keys of this token are being made or restored, and the ceremony did not come to its end. Run it again: gridseal token restore.')
  if (identity === undefined)
    throw new CliError(`The token ${shown.serial} lacks root keys (${shown.missing.join(', ')}). Restore it first: gridseal token restore.`)
  return { ...shown, identity }
}

/** Both holders of the token's PINs, where nobody else can be asked. */
export async function assertBothPins(ceremonies: TokenCeremonies): Promise<void> {
  if (!ceremonies.hasOfficer)
    throw new CliError('This needs the security officer of the token too: name the file with their PIN by GRIDSEAL_OFFICER_PIN_FILE, or have it typed: prompt.')
  await ceremonies.provePins()
}
