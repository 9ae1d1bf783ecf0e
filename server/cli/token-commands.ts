import { Argument, CommanderError, type Command } from 'commander'
import { readConfig } from '../config.ts'
import type { AskOptions } from './api-command.ts'
import { asking, askingAsOfficer } from './service-options.ts'
import type { ExportOptions } from './token-backup.ts'
import type { RotateOptions } from './token-rotation.ts'

const BOTH_PINS =
  'both holders of the token’s PINs are there in place of two officers, since the service cannot be asked (its token is destroyed, or a ceremony was cut off); the log says so'

/** Tokens and the ceremonies of their keys. */
export function addTokenCommands(program: Command): void {
  const token = program.command('token').description('For who chooses a token, and keeps it.')

  token
    .command('check')
    .description('Tells what a token can do of what Gridseal needs, and what it enforces: tried with throw-away keys, compared with published values.')
    .option('--token <uri>', 'PKCS#11 URI of the token (RFC 7512); without it and --module that of the settings')
    .option('--module <path>', 'a PKCS#11 module whose only token is meant')
    .option('--library-parameters <text>', 'what C_Initialize hands to the module, as NSS softokn wants it')
    .option('--json', 'the report as JSON')
    .addHelpText(
      'after',
      `
The PIN is the user’s. Its source is named in the URI, pin-source=file:/path or pin-source=env:NAME; else a terminal asks for it.
Exit codes: 0, all that is needed works and is enforced; 1, not so; 2, it was not checked: wrong usage, or the token could not be opened.`,
    )
    .exitOverride((error) => {
      throw error.exitCode === 0 ? error : new CommanderError(2, error.code, error.message)
    })
    .action(async (options: { token?: string; module?: string; libraryParameters?: string; json?: boolean }) => {
      const { checkTokenCommand } = await import('./token.ts')
      await checkTokenCommand(options)
    })

  token
    .command('init')
    .description(
      'Makes token and root keys before the first start. With a backup recipient every key is backed up from the first moment; afterwards is too late.',
    )
    .option('--backup-recipient <B.pem>', 'the public key of the token that is to restore this one, from: gridseal token backup-recipient')
    .option('--token <uri>', 'PKCS#11 URI of the token; without it that of the settings, or SoftHSM2 in the data folder')
    .action(async (options: { backupRecipient?: string; token?: string }) => {
      const { initialiseTokenCommand } = await import('./token-setup.ts')
      await initialiseTokenCommand({ config: readConfig(), ...options })
    })

  token
    .command('backup-recipient')
    .description('Makes a second token one that can restore the first: an RSA-3072 pair that stays in it. Prints the fingerprint that two people compare.')
    .requiredOption('--token <uri>', 'PKCS#11 URI of the second token, which is initialised and has both PINs')
    .requiredOption('--out <B.pem>', 'where its public key goes')
    .action(async (options: { token: string; out: string }) => {
      const { backupRecipientCommand } = await import('./token-setup.ts')
      await backupRecipientCommand({ config: readConfig(), ...options })
    })

  asking(token.command('backup'))
    .description(
      'Exports the backups of all keys that live in the token, as ciphertext that only the recipient’s token opens. Two officers: one asks, another approves.',
    )
    .option('--reason <text>', 'asks for it: why, for who approves it')
    .option('--run <id>', 'does it, once another officer has approved it')
    .option('--out <file.json>', 'with --run: where the backup goes')
    .action(async (options: ExportOptions) => {
      const { exportBackupCommand } = await import('./token-backup.ts')
      await exportBackupCommand(options)
    })

  asking(token.command('authorise'))
    .description('Authorises a ceremony that is held with a token beside the service, once. Two officers: one asks, another approves; then you run it.')
    .addArgument(new Argument('<ceremony>', 'what is to be done').choices(['adopt-token', 'replace-checkpoint-key', 'prune-log']))
    .requiredOption('--serial <serial>', 'serial of the token, as gridseal token show tells it; of adopt-token the new one')
    .option('--before <index>', 'of prune-log: the first entry that is kept, a multiple of 256')
    .requiredOption('--reason <text>', 'why, for who approves it')
    .option('--hours <n>', 'how long it may be held, 1 to 72', '24')
    .action(async (ceremony: string, options: AskOptions & { serial: string; before?: string; reason: string; hours: string }) => {
      const { authoriseCeremonyCommand } = await import('./token-authorisation.ts')
      await authoriseCeremonyCommand({ ...options, ceremony })
    })

  token
    .command('restore')
    .description('Restores a backup into the token that it was made for. Two people: the user’s PIN, and the officer’s (GRIDSEAL_OFFICER_PIN_FILE).')
    .option('--backup <file.json>', 'the backup; without it what the database has')
    .requiredOption('--token <uri>', 'PKCS#11 URI of the recipient’s token')
    .option('--next-recipient <C.pem>', 'the public key of the token that is to restore this one, should it die')
    .addHelpText('after', '\nWhen it was cut off, the same command starts over. Then: gridseal token adopt')
    .action(async (options: { backup?: string; token: string; nextRecipient?: string }) => {
      const { restoreTokenCommand } = await import('./token-backup.ts')
      await restoreTokenCommand({ config: readConfig(), ...options })
    })

  token
    .command('adopt')
    .description(
      'Lets the database take a restored token in place of the one it knows, while the service is stopped. Authorised before by: gridseal token authorise',
    )
    .option('--token <uri>', 'PKCS#11 URI of the restored token; without it that of the settings')
    .option('--service-cannot-run', BOTH_PINS)
    .option('--database-is-behind', 'the database is an older copy, and the newer one is lost for good: gridseal audit recover comes next')
    .action(async (options: { token?: string; serviceCannotRun?: boolean; databaseIsBehind?: boolean }) => {
      const { adoptTokenCommand } = await import('./token-adoption.ts')
      await adoptTokenCommand({ config: readConfig(), ...options })
    })

  token
    .command('complete')
    .description(
      'Adds the root keys that came with a later version of Gridseal than the token, while the service is stopped. Two people: the user’s PIN, and the officer’s (GRIDSEAL_OFFICER_PIN_FILE).',
    )
    .option('--token <uri>', 'PKCS#11 URI of the token; without it that of the settings')
    .addHelpText(
      'after',
      '\nWhen it was cut off, the same command starts over. A key that the database knows, and the token has lost, is restored: gridseal token restore.',
    )
    .action(async (options: { token?: string }) => {
      const { completeTokenCommand } = await import('./token-completion.ts')
      await completeTokenCommand({ config: readConfig(), ...options })
    })

  token
    .command('replace-checkpoint-key')
    .description(
      'Gives the log a new checkpoint key in the same token, and destroys the old one, while the service is stopped. Authorised before by: gridseal token authorise',
    )
    .option('--token <uri>', 'PKCS#11 URI of the token; without it that of the settings')
    .option('--service-cannot-run', BOTH_PINS)
    .addHelpText('after', '\nWhen it was cut off, the same command goes on.')
    .action(async (options: { token?: string; serviceCannotRun?: boolean }) => {
      const { replaceCheckpointKeyCommand } = await import('./token-adoption.ts')
      await replaceCheckpointKeyCommand({ config: readConfig(), ...options })
    })

  askingAsOfficer(token.command('rotate'))
    .description('Replaces a root key by its next generation, while the service runs. Two officers: one asks, another approves.')
    .addArgument(new Argument('[key]', 'which root key').choices(['storage-kek', 'row-mac', 'group-mac']))
    .option('--reason <text>', 'asks for the rotation of the key: why, for who approves it')
    .option('--approve <id>', 'approves a rotation: the new key is made in the token, and is current from then on')
    .option('--cancel <id>', 'cancels a rotation that nobody has approved')
    .option('--accept-refused <id>', 'gives up the rows of no generation that a rotation has found, as you have looked into them')
    .option('--count <n>', 'with --accept-refused: how many')
    .option('--status [id]', 'shows how far a rotation is; without an id the newest')
    .addHelpText(
      'after',
      `
storage-kek   wraps every key that lives in the database: each is opened and wrapped anew. Made TRUSTED, so the service needs GRIDSEAL_OFFICER_PIN_FILE.
row-mac       seals every row of the database: each bears a new MAC, and is the row that it was.
group-mac     seals what the log commits, until it is in the signed tree.

Example, by two officers:
  gridseal token rotate storage-kek --reason yearly --certificate alice.pem --key alice.key.pem --trust root.pem
  gridseal token rotate --approve 01890000-... --certificate bob.pem --key bob.key.pem --trust root.pem
  gridseal token rotate --status --certificate bob.pem --key bob.key.pem --trust root.pem

Nobody is refused meanwhile, and whatever is killed goes on by itself. Once nothing is under the old key it is destroyed; its backups stay, since a backup of
the database of before needs them. Export the token's backup anew afterwards: gridseal token backup. More: docs/key-rotation.md
Exit codes: 0, done; 1, refused or failed.`,
    )
    .action(async (key: string | undefined, options: RotateOptions) => {
      const { rotateCommand } = await import('./token-rotation.ts')
      await rotateCommand({ ...options, ...(key === undefined ? {} : { rotated: key }) })
    })

  token
    .command('show')
    .description('Shows what a token has: root keys with check values and fingerprints, backup state, and whether the database knows it.')
    .option('--token <uri>', 'PKCS#11 URI of the token; without it that of the settings')
    .action(async (options: { token?: string }) => {
      const { showTokenCommand } = await import('./token-description.ts')
      await showTokenCommand({ config: readConfig(), ...options })
    })
}
