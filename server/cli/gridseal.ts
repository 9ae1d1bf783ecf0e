#!/usr/bin/env node
import { Command, CommanderError } from 'commander'
import { describeSettings, readConfig } from '../config.ts'
import { addAccessCommands } from './access-commands.ts'
import { addCallerCommands } from './caller-commands.ts'
import { addLogCommands } from './log-commands.ts'
import { addIntegrityCommands } from './integrity-commands.ts'
import { addOutsideCommands } from './outside-commands.ts'
import { addPeopleCommands } from './people-commands.ts'
import { addPolicyCommands } from './policy-commands.ts'
import { addTokenCommands } from './token-commands.ts'
import { addWitnessCommands } from './witness-commands.ts'
import { collect } from './service-options.ts'
import { CliError } from './cli-error.ts'
import { describeFailure } from './failure.ts'

const program = new Command('gridseal')
  .description('The certificate and key service of a grid’s card platform: the service, and the programs of its people, vendors and auditors.')
  .showHelpAfterError()
  .configureHelp({ showGlobalOptions: true })
  .addHelpText(
    'after',
    `
Examples:
  gridseal serve                                             the service, with the settings of the environment and gridseal.yaml
  gridseal caller request --name alice --out people          a key and a certificate request; the key stays there
  gridseal init --officer alice=people/alice.csr.pem --officer bob=people/bob.csr.pem --out people
  gridseal person --help                                     for officers: people, tickets, sessions
  gridseal login --help                                      for people who log in by password and code
  gridseal vendor open --help                                checks and opens a delivery on the vendor's side
  gridseal token check --help                                checks whether a token can serve
  gridseal token restore --help                              puts the keys of a lost token into another one
  gridseal token rotate --help                               replaces a root key while the service runs
  gridseal audit mirror --help                               keeps a copy of the log, verified
  gridseal audit verify --help                               checks a whole log offline: a mirror or an export
  gridseal audit verify-proof --help                         checks one entry of the log offline
  gridseal audit export --help                               the log as NDJSON, CSV or OCSF events
  gridseal audit evidence --help                             entries with all that proves them, in one signed file
  gridseal audit verify-evidence --help                      checks such a file offline
  gridseal witness --help                                    cosigns checkpoints of the log, elsewhere than the service
  gridseal integrity check                                   compares the whole database with the log, on the host
  gridseal key verify-statement --help                       checks offline what the token says of a key
  gridseal hold --help                                       what waits for approval
  gridseal admission --help                                  the security records of vendors and modules
  gridseal grant --help                                      emergency and temporary access, and reports of it
  gridseal personal --help                                   what the log can show of persons and cards, and its erasure
  gridseal alarm --help                                      what is wrong, and what to do
  gridseal attest verify --help                              checks an attestation result offline
  gridseal policy --help                                     checks and compares policies, and changes the one that runs`,
  )

program
  .command('serve')
  .description('Runs the service until it is told to stop (SIGTERM, SIGINT).')
  .addHelpText('after', '\nAn empty data folder is set up at first start: token, keys, database, CAs. Settings: gridseal settings.')
  .action(async () => {
    const { serve } = await import('../serve.ts')
    await serve(readConfig())
  })

program
  .command('init')
  .description('Enrols the first two officers, once: from then on they enrol everybody else.')
  .requiredOption('--officer <name=csr.pem>', 'an officer and their certificate request (twice)', collect, [])
  .requiredOption('--out <folder>', 'where the certificates and the root go')
  .addHelpText('after', '\nWrites NAME.pem and NAME.id for each officer, and root.pem. When it was cut off, the same command with the same officers goes on.')
  .action(async ({ officer, out }: { officer: string[]; out: string }) => {
    const { initialise } = await import('./init.ts')
    await initialise({ config: readConfig(), officers: officer, out })
  })

program
  .command('settings')
  .description('Lists every setting: name in gridseal.yaml, environment variable, default, meaning.')
  .action(() => {
    for (const { name, variable, fallback, about } of describeSettings()) {
      console.log(`${name.padEnd(24)}${variable.padEnd(36)}${fallback === '' ? '' : `[${fallback}]`}\n    ${about}`)
    }
  })

addCallerCommands(program)
addPeopleCommands(program)
addOutsideCommands(program)
addTokenCommands(program)
addPolicyCommands(program)
addAccessCommands(program)
addWitnessCommands(program)
addLogCommands(program)
addIntegrityCommands(program)

program.exitOverride()
try {
  await program.parseAsync()
} catch (error) {
  if (error instanceof CommanderError) process.exitCode = error.exitCode
  else {
    console.error(`gridseal: ${describeFailure(error)}`)
    process.exitCode = error instanceof CliError ? error.exitCode : 1
  }
}
