import { existsSync } from 'node:fs'
import { writeDurably } from '../../core/durable-file.ts'
import { backupOf, checkpointKeyOf, parseBackup, type TokenBackup, TokenCeremonies } from '../../pkcs11/ceremonies.ts'
import { PgKeyBackupStore } from '../../pkcs11/key-backup-store.pg.ts'
import type { Config } from '../config.ts'
import { tokenOptions } from '../token-options.ts'
import { verifierKey } from '../token-succession.ts'
import { type AskOptions, tell, uuidOf } from './api-command.ts'
import { CliError } from './cli-error.ts'
import { askOrHeld, heldLines, HOLDS } from './hold.ts'
import { withDatabase } from './stopped-service.ts'
import { readRecipient } from './token-setup.ts'
import { assertReach, readText, withClient } from './with-client.ts'

export interface ExportOptions extends AskOptions {
  readonly reason?: string
  /** Id of the held request. */
  readonly run?: string
  readonly out?: string
}

interface Exported {
  readonly backup: string
  readonly sha256: string
  readonly missing: readonly string[]
}

/** Asks for an export, or, once another officer has approved it, runs it and writes the file. The exit code is 1 when a key is missing from it. */
export async function exportBackupCommand({ reason, run, out, ...options }: ExportOptions): Promise<void> {
  assertReach(options)
  if (run === undefined) {
    if (reason === undefined || out !== undefined)
      throw new CliError('Say why (--reason), or, once it is approved, which request to run and where the file goes: --run ID --out backup.json')
    const asked = await withClient(options, (client) => askOrHeld(() => client.post<Exported>('/v1/kms/root-keys/backup', { reason })))
    if (!('holdId' in asked)) throw new CliError('The service exported it without an approval. That is not as it should be: look at its version.')
    const { holdId } = asked
    const lines = heldLines(holdId, `gridseal token backup --run ${holdId} --out backup.json ...`)
    return console.log(options.json === true ? JSON.stringify({ holdId }) : lines.join('\n'))
  }
  if (out === undefined || reason !== undefined) throw new CliError('Say where the file goes: --run ID --out backup.json')
  if (existsSync(out)) throw new CliError(`${out} is there already. Name a file that is not.`)
  const exported = await withClient(options, (client) => client.post<Exported>(`${HOLDS}/${uuidOf(run, 'a held request')}/run`))
  writeDurably(out, exported.backup)
  const { keys, kek } = parseBackup(exported.backup)
  const { sha256, missing } = exported
  tell(options, { out, sha256, missing }, () => [
    `${out} holds ${String(keys.length)} keys of the token ${kek.backup.tokenSerial}. It is useless without the recipient’s token: keep it anywhere, in more than one place. SHA-256, as in the log:\n${sha256}`,
    ...(missing.length === 0 ? [] : [`NOT IN IT, since the database has no backup of them: ${missing.join(', ')}. They are lost with their token.`]),
  ])
  if (missing.length > 0) process.exitCode = 1
}

/** Restores a backup into the token that it was made for. */
export async function restoreTokenCommand({
  config,
  backup,
  token,
  nextRecipient,
}: {
  readonly config: Config
  /** A file. Absent: what the database has. */
  readonly backup?: string
  readonly token: string
  readonly nextRecipient?: string
}): Promise<void> {
  const content = backup === undefined ? await backupInDatabase(config) : parseBackup(readText(backup))
  if (config.officerPinFile === undefined)
    throw new CliError('A restore needs the security officer of the token: name the file with their PIN by GRIDSEAL_OFFICER_PIN_FILE.')
  const next = nextRecipient === undefined ? {} : { nextRecipient: readRecipient(nextRecipient) }
  const { serial, keys } = await new TokenCeremonies(tokenOptions(config, token)).restore(content, next)
  console.log(
    [
      `The token ${serial} has the ${content.keys.length} keys of the backup, each compared with it, and a new checkpoint key:`,
      verifierKey(config.origin, checkpointKeyOf(keys)),
      'Now name it in GRIDSEAL_TOKEN, and let the database take it, while the service is stopped: gridseal token adopt',
      ...(nextRecipient === undefined ? ['Keys that are made in it from now on have no backup: none was named to restore it (--next-recipient).'] : []),
    ].join('\n'),
  )
}

/** The newest that there is: exported or not, with the token or without it. Its rows are checked when they are restored. */
const backupInDatabase = (config: Config): Promise<TokenBackup> =>
  withDatabase(config, async (sql) => backupOf(await new PgKeyBackupStore(sql).load()), { migrated: false })
