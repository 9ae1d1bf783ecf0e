import { Option, type Command } from 'commander'
import { CliError } from './cli-error.ts'
import type { LoginOptions } from './login.ts'
import type { PersonOptions } from './person.ts'
import type { ReachOptions } from './with-client.ts'
import { askingAsOfficer, SERVICE_URL, TRUST } from './service-options.ts'

/** People, their ways in, and their sessions. */
export function addPeopleCommands(program: Command): void {
  const person = program
    .command('person')
    .description('For officers: people, what they are registered as, tickets for setting passwords, sessions.')
    .addHelpText(
      'after',
      `
A person may be registered as several things, officer and business person for one; who audits is nothing else. Approvals by "another" count persons. Officers come in by certificate alone; business persons and auditors also by password and one-time code, for which they need a ticket.

  gridseal person register chen --kind business --certificate alice.pem --key alice.key.pem --trust root.pem
  gridseal person ticket chen   --certificate alice.pem --key alice.key.pem --trust root.pem       hand it over in person: whoever has it becomes chen
  gridseal login enrol --trust root.pem                                                            chen sets password and codes
docs/people.md says the rest.`,
    )

  askingAsOfficer(person.command('register'))
    .description('Registers somebody. Without --kind the person alone; with it a registration, whose person is new, or is named.')
    .argument('<name>', 'the name of the registration, and of a new person')
    .addOption(new Option('--kind <kind>', 'as what').choices(['officer', 'auditor', 'business']))
    .option('--person <name>', 'the person it belongs to, who is registered already')
    .action(async (name: string, options: PersonOptions & { kind?: string; person?: string }) => {
      const { registerPersonCommand } = await import('./person.ts')
      await registerPersonCommand({ ...options, name })
    })

  askingAsOfficer(person.command('list'))
    .description('Lists all people: what they are registered as, and whether they log in by password.')
    .action(async (options: PersonOptions) => {
      const { listPersonsCommand } = await import('./person.ts')
      await listPersonsCommand(options)
    })

  askingAsOfficer(person.command('ticket'))
    .description('Gives out a ticket: with it a person sets password and one-time codes, once, within 24 hours. It also helps who has lost theirs.')
    .argument('<name>', 'the person')
    .action(async (name: string, options: PersonOptions) => {
      const { issueTicketCommand } = await import('./person.ts')
      await issueTicketCommand({ ...options, name })
    })

  askingAsOfficer(person.command('revoke'))
    .description('Revokes a person for good: no certificate and no session of theirs works 5 s later.')
    .argument('<name>', 'the person')
    .action(async (name: string, options: PersonOptions) => {
      const { revokePersonCommand } = await import('./person.ts')
      await revokePersonCommand({ ...options, name })
    })

  askingAsOfficer(person.command('sessions'))
    .description('Lists a person’s sessions, or ends them.')
    .argument('<name>', 'the person')
    .option('--end [id]', 'ends the session of this id; without an id all of them')
    .action(async (name: string, options: PersonOptions & { end?: string | true }) => {
      const { sessionsCommand } = await import('./person.ts')
      await sessionsCommand({ ...options, name })
    })

  const login = program
    .command('login')
    .description('Logs a business person or auditor in, by password and one-time code. The session goes into a file (mode 0600) that other commands take.')
    .option('--name <name>', 'the person’s name')
    .option('--session <file>', 'where the session goes')
    .option('--recovery', 'with a recovery code in place of one of the authenticator')
    .addOption(SERVICE_URL)
    .requiredOption('--trust <root.pem>', TRUST)
    .addHelpText(
      'after',
      `
Example:
  gridseal login enrol --session ann.session --trust root.pem            once, with the ticket of an officer: password, QR code, recovery codes
  gridseal login --name ann --session ann.session --trust root.pem       asks for password and code
  gridseal audit search code:forbidden --session ann.session --trust root.pem
  gridseal login out --session ann.session --trust root.pem

What is secret is typed without being shown. Where standard input is no terminal, its lines are the answers: password, code.
The session works from this address alone, ends after 15 minutes without use, and after 8 hours. Keep the file when you log out: the next login on this device
does not wait then when others have tried your name.`,
    )
    .action(async ({ name, session, ...options }: ReachOptions & { name?: string; recovery?: boolean }) => {
      if (name === undefined || session === undefined)
        throw new CliError('Say who you are and where the session goes: gridseal login --name ann --session ann.session ...')
      const { loginCommand } = await import('./login.ts')
      await loginCommand({ ...options, name, session })
    })

  login
    .command('enrol')
    .description('Sets password and one-time codes with the ticket of an officer. Shows a QR code for the authenticator, then recovery codes.')
    .action(async (_options: object, command: Command) => {
      const { enrolCommand } = await import('./login.ts')
      await enrolCommand(command.optsWithGlobals<ReachOptions>())
    })

  login
    .command('out')
    .description('Ends the session of a file.')
    .action(async (_options: object, command: Command) => {
      const { logoutCommand } = await import('./login.ts')
      await logoutCommand(sessionOf(command))
    })

  login
    .command('password')
    .description('Changes one’s own password, by the old one and a code. Every session of one’s own ends.')
    .action(async (_options: object, command: Command) => {
      const { changePasswordCommand } = await import('./login.ts')
      await changePasswordCommand(sessionOf(command))
    })

  login
    .command('sessions')
    .description('Lists one’s own sessions, or ends one.')
    .option('--end <id>', 'ends the session of this id')
    .action(async ({ end }: { end?: string }, command: Command) => {
      const { ownSessionsCommand } = await import('./login.ts')
      await ownSessionsCommand({ ...sessionOf(command), ...(end === undefined ? {} : { end }) })
    })
}

/** The options of `login` and its commands, with a session file. */
function sessionOf(command: Command): LoginOptions {
  const { session, ...options } = command.optsWithGlobals<ReachOptions>()
  if (session === undefined) throw new CliError('Name the session file: --session FILE')
  return { url: options.url, trust: options.trust, session }
}
