import type { Command } from 'commander'
import { readConfig } from '../config.ts'
import { asking } from './service-options.ts'
import type { ShowIntegrityOptions } from './integrity.ts'

/** Whether the database is what the log says. */
export function addIntegrityCommands(program: Command): void {
  const integrity = program
    .command('integrity')
    .description('Whether the database is what the log says: edited, replayed, deleted and added rows, the log itself, the schema.')

  integrity
    .command('check')
    .description(
      'Compares everything now, on the host of the service and with its settings, also while it runs or refuses to start. Exit 1 when anything is found.',
    )
    .option('--json', 'the report as JSON')
    .addHelpText(
      'after',
      `
It needs the database, the token and the checkpoint file, as the service does, and changes nothing: only what is committed is sequenced and signed first.
Exit codes: 0, the database is what the log says; 1, it is not; 2, it was not compared.`,
    )
    .action(async ({ json }: { json?: boolean }) => {
      const { checkIntegrityCommand } = await import('./integrity.ts')
      await checkIntegrityCommand(readConfig(), { json: json === true })
    })

  asking(integrity.command('show'))
    .description('What a running service found, and how far it is with a pass.')
    .option('--begin', 'have it compare everything now, and say how it stands')
    .action(async (options: ShowIntegrityOptions) => {
      const { showIntegrityCommand } = await import('./integrity.ts')
      await showIntegrityCommand(options)
    })
}
