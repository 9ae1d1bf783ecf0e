#!/usr/bin/env node
import { Argument, Command, CommanderError, Option } from 'commander'
import { Problem } from '../../core/problem.ts'
import { ConfigError, describeSettings, readConfig } from '../config.ts'
import { CliError } from './cli-error.ts'
import type { SearchOptions } from './audit-search.ts'
import type { FilingOptions } from './admission.ts'
import type { IssueOptions } from './grant.ts'
import type { LoginOptions } from './login.ts'
import type { PersonOptions } from './person.ts'
import type { AskOptions as Ask } from './api-command.ts'
import type { RotateOptions } from './token-rotation.ts'
import type { ReachOptions } from './with-client.ts'

const program = new Command('gridseal')
  .description('The certificate and key service of a grid’s card platform: the service, and the programs of its people, vendors and auditors.')
  .showHelpAfterError()
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
  gridseal audit verify --help                               checks a whole exported log offline
  gridseal audit verify-proof --help                         checks one entry of the log offline
  gridseal key verify-statement --help                       checks offline what the token says of a key
  gridseal hold --help                                       what waits for approval
  gridseal admission --help                                  the security records of vendors and modules
  gridseal grant --help                                      emergency and temporary access, and reports of it
  gridseal attest verify --help                              checks an attestation result offline
  gridseal policy --help                                     checks, tests, compares and explains policies offline`,
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
  .requiredOption('--officer <name=csr.pem>', 'an officer and their certificate request (twice)', (value: string, all: string[]) => [...all, value], [])
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

const caller = program.command('caller').description('For who gets a client certificate: key, request, file for the browser.')

caller
  .command('request')
  .description('Makes a P-256 key and a certificate request. The key stays in the folder; the request goes to an officer.')
  .requiredOption('--name <name>', 'the caller’s name')
  .requiredOption('--out <folder>', 'where NAME.key.pem (mode 0600) and NAME.csr.pem go')
  .action(async ({ name, out }: { name: string; out: string }) => {
    const { writeRequest } = await import('./caller.ts')
    await writeRequest({ name, out })
  })

caller
  .command('p12')
  .description('Packs key and certificate into a PKCS#12 file for a browser. The password is read from the environment variable that you name.')
  .requiredOption('--key <key.pem>', 'the private key')
  .requiredOption('--certificate <chain.pem>', 'the certificate and its chain')
  .requiredOption('--password-env <variable>', 'the environment variable that holds the password')
  .requiredOption('--out <file.p12>', 'where it goes')
  .action(async (options: { key: string; certificate: string; passwordEnv: string; out: string }) => {
    const { writePkcs12 } = await import('./caller.ts')
    writePkcs12({ ...options, password: process.env[options.passwordEnv] })
  })

const SERVICE_URL = new Option('--url <url>', 'the service').default('https://127.0.0.1:8443')
const TRUST = 'the service’s root certificate, from its officers'

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

/** What every command for officers takes. */
const officers = (command: Command): Command =>
  command
    .option('--json', 'the answer as JSON')
    .addOption(SERVICE_URL)
    .requiredOption('--certificate <chain.pem>', 'the officer’s certificate')
    .requiredOption('--key <key.pem>', 'its private key')
    .requiredOption('--trust <root.pem>', TRUST)

officers(person.command('register'))
  .description('Registers somebody. Without --kind the person alone; with it a registration, whose person is new, or is named.')
  .argument('<name>', 'the name of the registration, and of a new person')
  .addOption(new Option('--kind <kind>', 'as what').choices(['officer', 'auditor', 'business']))
  .option('--person <name>', 'the person it belongs to, who is registered already')
  .action(async (name: string, options: PersonOptions & { kind?: string; person?: string }) => {
    const { registerPersonCommand } = await import('./person.ts')
    await registerPersonCommand({ ...options, name })
  })

officers(person.command('list'))
  .description('Lists all people: what they are registered as, and whether they log in by password.')
  .action(async (options: PersonOptions) => {
    const { listPersonsCommand } = await import('./person.ts')
    await listPersonsCommand(options)
  })

officers(person.command('ticket'))
  .description('Gives out a ticket: with it a person sets password and one-time codes, once, within 24 hours. It also helps who has lost theirs.')
  .argument('<name>', 'the person')
  .action(async (name: string, options: PersonOptions) => {
    const { issueTicketCommand } = await import('./person.ts')
    await issueTicketCommand({ ...options, name })
  })

officers(person.command('revoke'))
  .description('Revokes a person for good: no certificate and no session of theirs works 5 s later.')
  .argument('<name>', 'the person')
  .action(async (name: string, options: PersonOptions) => {
    const { revokePersonCommand } = await import('./person.ts')
    await revokePersonCommand({ ...options, name })
  })

officers(person.command('sessions'))
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
  gridseal audit search --code forbidden --session ann.session --trust root.pem
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

/** The options of `login` and its commands, with a session file. */
function sessionOf(command: Command): LoginOptions {
  const { session, ...options } = command.optsWithGlobals<ReachOptions>()
  if (session === undefined) throw new CliError('Name the session file: --session FILE')
  return { url: options.url, trust: options.trust, session }
}

const vendor = program.command('vendor').description('For card vendors.')

vendor
  .command('certificate')
  .description(
    'Makes an RSA-3072 key and the self-signed encryption certificate that a vendor registers. Two officers confirm its fingerprint, told to them by another way.',
  )
  .requiredOption('--name <name>', 'the vendor’s name')
  .requiredOption('--out <folder>', 'where NAME.encryption.key.pem (mode 0600) and NAME.encryption.pem go')
  .action(async ({ name, out }: { name: string; out: string }) => {
    const { writeEncryptionCertificate } = await import('./vendor.ts')
    await writeEncryptionCertificate({ name, out })
  })

vendor
  .command('open')
  .description('Checks a delivery (signature, digest, counts, row MACs, KCVs) and unwraps its keys. Exit 1 when anything is wrong.')
  .requiredOption('--delivery <file>', 'the delivery file')
  .requiredOption('--transport-key <package.json>', 'the transport key as the service gave it (GET .../transport-keys/ID)')
  .requiredOption('--key <key.pem>', 'the private key of the encryption certificate')
  .requiredOption('--trust <root.pem>', 'the service’s root certificate, from its officers')
  .option('--out <keys.ndjson>', 'where the keys go in clear (mode 0600); without it they are checked and forgotten')
  .action(async (options: { delivery: string; transportKey: string; key: string; trust: string; out?: string }) => {
    const { openDeliveryFile } = await import('./vendor.ts')
    await openDeliveryFile(options)
  })

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
    const { initialiseTokenCommand } = await import('./token-ceremonies.ts')
    await initialiseTokenCommand({ config: readConfig(), ...options })
  })

token
  .command('backup-recipient')
  .description('Makes a second token one that can restore the first: an RSA-3072 pair that stays in it. Prints the fingerprint that two people compare.')
  .requiredOption('--token <uri>', 'PKCS#11 URI of the second token, which is initialised and has both PINs')
  .requiredOption('--out <B.pem>', 'where its public key goes')
  .action(async (options: { token: string; out: string }) => {
    const { backupRecipientCommand } = await import('./token-ceremonies.ts')
    await backupRecipientCommand({ config: readConfig(), ...options })
  })

token
  .command('backup')
  .description('Exports the backups of all keys that live in the token, as ciphertext that only the recipient’s token opens. The token itself is not needed.')
  .requiredOption('--out <file.json>', 'where they go')
  .action(async (options: { out: string }) => {
    const { exportBackupCommand } = await import('./token-ceremonies.ts')
    await exportBackupCommand({ config: readConfig(), ...options })
  })

token
  .command('restore')
  .description('Restores a backup into the token that it was made for. Two people: the user’s PIN, and the officer’s (GRIDSEAL_OFFICER_PIN_FILE).')
  .requiredOption('--backup <file.json>', 'the backup')
  .requiredOption('--token <uri>', 'PKCS#11 URI of the recipient’s token')
  .option('--next-recipient <C.pem>', 'the public key of the token that is to restore this one, should it die')
  .addHelpText('after', '\nWhen it was cut off, the same command starts over. Then: gridseal token adopt')
  .action(async (options: { backup: string; token: string; nextRecipient?: string }) => {
    const { restoreTokenCommand } = await import('./token-ceremonies.ts')
    await restoreTokenCommand({ config: readConfig(), ...options })
  })

token
  .command('adopt')
  .description('Lets the database take a restored token in place of the one it knows, while the service is stopped.')
  .option('--token <uri>', 'PKCS#11 URI of the restored token; without it that of the settings')
  .action(async (options: { token?: string }) => {
    const { adoptTokenCommand } = await import('./token-ceremonies.ts')
    await adoptTokenCommand({ config: readConfig(), ...options })
  })

token
  .command('complete')
  .description('Adds the root keys that came with a later version of Gridseal than the token, while the service is stopped. Those of before stay as they are.')
  .option('--token <uri>', 'PKCS#11 URI of the token; without it that of the settings')
  .addHelpText(
    'after',
    '\nWhen it was cut off, the same command starts over. A key that the database knows, and the token has lost, is restored: gridseal token restore.',
  )
  .action(async (options: { token?: string }) => {
    const { completeTokenCommand } = await import('./token-ceremonies.ts')
    await completeTokenCommand({ config: readConfig(), ...options })
  })

token
  .command('replace-checkpoint-key')
  .description('Gives the log a new checkpoint key in the same token, and destroys the old one, while the service is stopped.')
  .option('--token <uri>', 'PKCS#11 URI of the token; without it that of the settings')
  .addHelpText('after', '\nWhen it was cut off, the same command goes on.')
  .action(async (options: { token?: string }) => {
    const { replaceCheckpointKeyCommand } = await import('./token-ceremonies.ts')
    await replaceCheckpointKeyCommand({ config: readConfig(), ...options })
  })

token
  .command('rotate')
  .description('Replaces a root key by its next generation, while the service runs. Two officers: one asks, another approves.')
  .addArgument(new Argument('[key]', 'which root key').choices(['storage-kek', 'row-mac', 'group-mac']))
  .option('--reason <text>', 'asks for the rotation of the key: why, for who approves it')
  .option('--approve <id>', 'approves a rotation: the new key is made in the token, and is current from then on')
  .option('--cancel <id>', 'cancels a rotation that nobody has approved')
  .option('--accept-refused <id>', 'gives up the rows of no generation that a rotation has found, as you have looked into them')
  .option('--count <n>', 'with --accept-refused: how many')
  .option('--status [id]', 'shows how far a rotation is; without an id the newest')
  .option('--json', 'the rotation as JSON')
  .option('--url <url>', 'the service', 'https://127.0.0.1:8443')
  .requiredOption('--certificate <chain.pem>', 'the officer’s certificate')
  .requiredOption('--key <key.pem>', 'its private key')
  .requiredOption('--trust <root.pem>', 'the service’s root certificate, from its officers')
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
    const { showTokenCommand } = await import('./token-ceremonies.ts')
    await showTokenCommand({ config: readConfig(), ...options })
  })

const audit = program.command('audit').description('For auditors.')

audit
  .command('verify')
  .description('Verifies an exported log offline: every entry in the tree, every checkpoint, no gap, no open operation. Exit 1 when anything is wrong.')
  .argument('<export>', 'the file of GET /v1/policies/audit/export')
  .requiredOption(
    '--key <vkey>',
    'the log’s verifier key (C2SP note form), or a file that holds it; once it was replaced, each of its keys in their order',
    (value: string, all: readonly string[] | undefined) => [...(all ?? []), value],
  )
  .addHelpText('after', '\nThe key is told once, by a way of its own: GET /audit/key of the plain listener shows it.')
  .action(async (file: string, { key }: { key: readonly string[] }) => {
    const { verifyExport } = await import('./audit.ts')
    await verifyExport({ file, keys: key })
  })

audit
  .command('search')
  .description('Finds entries of the log of a running service, and prints each as a line of JSON.')
  .option('--from <index>', 'the index to start at')
  .option('--limit <n>', 'how many at most')
  .option('--operation-id <id>', 'of this operation: the id that every answer has')
  .option('--operation <name>', 'of operations of this name, such as kms.key.sign')
  .option('--caller <urn>', 'of this caller, such as urn:gridseal:officer:alice')
  .option('--code <code>', 'with this code: ok, or that of a problem')
  .addOption(SERVICE_URL)
  .requiredOption('--trust <root.pem>', TRUST)
  .option('--certificate <chain.pem>', 'the auditor’s certificate')
  .option('--key <key.pem>', 'its private key')
  .option('--session <file>', 'in place of a certificate: what gridseal login wrote')
  .addHelpText('after', '\nExample: gridseal audit search --code login-failed --session ann.session --trust root.pem')
  .action(async (options: SearchOptions) => {
    const { searchCommand } = await import('./audit-search.ts')
    await searchCommand(options)
  })

audit
  .command('verify-proof')
  .description('Verifies offline that one entry is in the log, and prints what it says. Exit 1 when anything is wrong.')
  .argument('<entry>', 'a file of the entry’s exact bytes')
  .argument('<proof>', 'its proof (C2SP tlog-proof)')
  .requiredOption('--key <vkey>', 'the log’s verifier key (C2SP note form), or a file that holds it')
  .addHelpText('after', '\nGET /v1/policies/audit/operations/ID/proof gives both: `bytes` (base64 of the first file) and `proof` (the second file’s text).')
  .action(async (entry: string, proof: string, { key }: { key: string }) => {
    const { verifyProof } = await import('./audit.ts')
    verifyProof({ entry, proof, key })
  })

const key = program.command('key').description('For who relies on a key of the service.')

key
  .command('verify-statement')
  .description('Verifies offline a statement of what a key is, and prints it. Exit 1 when it is not to be believed.')
  .argument('<statement>', 'a file of the answer of GET /v1/kms/keys/ID/statement, or of its field `signed`')
  .requiredOption('--trust <root.pem>', 'the service’s root certificate, from its officers')
  .addHelpText('after', '\nID is the id of a key, or the name of one in the token: root:ca-cards, master:..., transport:...')
  .action(async (statement: string, { trust }: { trust: string }) => {
    const { verifyStatementFile } = await import('./key.ts')
    verifyStatementFile({ statement, trust })
  })

const attest = program.command('attest').description('For who relies on attestation results.')

attest
  .command('verify')
  .description(
    'Verifies an attestation result offline, and prints what it says. Exit 1 when it is not valid; a valid one may say that a card is not to be trusted.',
  )
  .argument('<result>', 'a file of the result (EAR, a JWT)')
  .requiredOption('--keys <jwks.json>', 'the service’s public keys (JWK Set)')
  .option('--nonce <base64url>', 'the nonce that the result must answer; without it any will do')
  .option('--at <time>', 'the time to verify for (RFC 3339); without it now')
  .addHelpText('after', '\nThe keys are those of the service that you rely on: get them from it or its officers, not from who brings the result.')
  .action(async (result: string, options: { keys: string; nonce?: string; at?: string }) => {
    const { verifyResultFile } = await import('./attest.ts')
    verifyResultFile({ result, ...options })
  })

const policy = program
  .command('policy')
  .description('For who keeps the policy. check, test, diff and explain work on files alone; the others ask the service.')
  .addHelpText(
    'after',
    '\nExit codes: 0, fine; 1, a finding, a difference or a failed test; 2, wrong usage, or a file that cannot be read. docs/policy.md teaches the language.',
  )
  .exitOverride((error) => {
    throw error.exitCode === 0 ? error : new CommanderError(2, error.code, error.message)
  })

policy
  .command('check')
  .description('Reads a policy, puts its tests to it, and looks for rules that are of no use: unreachable, shadowed, redundant, expired.')
  .argument('<file>', 'the policy')
  .option('--at <time>', 'the time from which on it is to hold (RFC 3339); without it now')
  .option('--json', 'the report as JSON')
  .action(async (file: string, options: { at?: string; json?: boolean }) => {
    const { checkPolicyFile } = await import('./policy.ts')
    checkPolicyFile({ file, ...options })
  })

policy
  .command('test')
  .description('Puts a policy’s own tests to it, and explains those that fail.')
  .argument('<file>', 'the policy')
  .option('--at <time>', 'the time of tests that name none (RFC 3339); without it now')
  .option('--json', 'the report as JSON')
  .action(async (file: string, options: { at?: string; json?: boolean }) => {
    const { testPolicyFile } = await import('./policy.ts')
    testPolicyFile({ file, ...options })
  })

policy
  .command('diff')
  .description('Tells what two policies decide differently, each with a request that they do decide so. Names, comments and owners are no difference.')
  .argument('<old>', 'the policy as it was')
  .argument('<new>', 'the policy as it would be')
  .option('--at <time>', 'the time from which on they are compared (RFC 3339); without it now')
  .option('--json', 'the report as JSON')
  .action(async (before: string, after: string, options: { at?: string; json?: boolean }) => {
    const { diffPolicyFiles } = await import('./policy.ts')
    diffPolicyFiles({ before, after, ...options })
  })

policy
  .command('explain')
  .description('Says how a request would be decided, by which rule, and what stopped the others.')
  .argument('<file>', 'the policy')
  .requiredOption('--caller <kind:name>', 'who asks')
  .requiredOption('--operation <name>', 'for what')
  .option('--address <address>', 'the address that the connection comes from')
  .option('--listener <listener>', 'the listener that it comes to: tls, or plain')
  .option('--strength <strength>', 'how the caller proved who it is: certificate, or password+totp')
  .option('--not-admitted', 'a vendor or module that is not admitted')
  .option('--uses-key', 'it would use a key')
  .option('--fact <name=value>', 'what the operation states, such as owner=$caller (many times)', (value: string, all: string[]) => [...all, value], [])
  .option('--at <time>', 'when (RFC 3339); without it now')
  .option('--json', 'the answer as JSON')
  .action(
    async (
      file: string,
      options: {
        caller: string
        operation: string
        address?: string
        listener?: string
        strength?: string
        notAdmitted?: boolean
        usesKey?: boolean
        fact: string[]
        at?: string
        json?: boolean
      },
    ) => {
      const { explainRequest } = await import('./policy.ts')
      explainRequest({ file, ...options })
    },
  )

/** Where the service is, and who asks. */
const asking = (command: Command): Command =>
  command
    .option('--json', 'the answer as JSON')
    .addOption(SERVICE_URL)
    .requiredOption('--trust <root.pem>', TRUST)
    .option('--certificate <chain.pem>', 'your certificate')
    .option('--key <key.pem>', 'its private key')
    .option('--session <file>', 'in place of a certificate: what gridseal login wrote')

asking(policy.command('propose'))
  .description('Asks the service for another policy: it is checked, held for approval, and put to work on trial when you run it.')
  .argument('<file>', 'the policy')
  .requiredOption('--reason <text>', 'why, for who approves it')
  .option('--within <seconds>', 'how long the trial lasts: not confirmed by then, the policy of now counts again', '600')
  .addHelpText(
    'after',
    `
Example, by two officers:
  gridseal policy propose next.yaml --reason "vendor acme" --certificate alice.pem --key alice.key.pem --trust root.pem
  gridseal policy review 01890000-... --certificate bob.pem --key bob.key.pem --trust root.pem      what it would change
  gridseal policy approve 01890000-... --digest ... --certificate bob.pem --key bob.key.pem --trust root.pem
  gridseal hold run 01890000-... ...          on trial from here on
  gridseal policy confirm 2 ...               it stays
A change of the guard chain takes two others. docs/policy-revisions.md`,
  )
  .action(async (file: string, options: Ask & { reason: string; within: string }) => {
    const { proposeCommand } = await import('./policy-change.ts')
    await proposeCommand(file, options)
  })

asking(policy.command('review'))
  .description('Says what a held change of the policy would be, for who approves it: worked out on this machine from both texts.')
  .argument('<id>', 'of the held request')
  .action(async (id: string, options: Ask) => {
    const { reviewCommand } = await import('./policy-change.ts')
    await reviewCommand(id, options)
  })

asking(policy.command('approve'))
  .description('Approves a held change of the policy, as another officer than who asked.')
  .argument('<id>', 'of the held request')
  .requiredOption('--digest <digest>', 'of what you looked at: gridseal policy review')
  .action(async (id: string, options: Ask & { digest: string }) => {
    const { approveHoldCommand } = await import('./hold.ts')
    await approveHoldCommand(id, options)
  })

asking(policy.command('confirm'))
  .description('Confirms the policy that is on trial.')
  .argument('<number>', 'of its activation')
  .action(async (number: string, options: Ask) => {
    const { confirmCommand } = await import('./policy-change.ts')
    await confirmCommand(number, options)
  })

asking(policy.command('rollback'))
  .description('Ends the trial of a policy: the one before it counts again.')
  .argument('<number>', 'of its activation')
  .requiredOption('--reason <text>', 'why')
  .action(async (number: string, options: Ask & { reason: string }) => {
    const { rollBackCommand } = await import('./policy-change.ts')
    await rollBackCommand(number, options)
  })

asking(policy.command('history'))
  .description('Lists the policies that were put to work, and what each node decides by.')
  .action(async (options: Ask) => {
    const { historyCommand } = await import('./policy-change.ts')
    await historyCommand(options)
  })

asking(policy.command('text'))
  .description('Prints the text of a policy that was put to work.')
  .argument('<revision>', 'as decisions name it')
  .action(async (revision: string, options: Ask) => {
    const { textCommand } = await import('./policy-change.ts')
    await textCommand(revision, options)
  })

asking(policy.command('hits'))
  .description('Tells how often each rule of a policy decided, on all nodes.')
  .argument('<revision>', 'as decisions name it')
  .action(async (revision: string, options: Ask) => {
    const { hitsCommand } = await import('./policy-change.ts')
    await hitsCommand(revision, options)
  })

asking(policy.command('why'))
  .description('Says why a request was decided as it was: the rule of then, and what stopped the others.')
  .argument('<operation>', 'id of the operation')
  .action(async (operationId: string, options: Ask) => {
    const { whyCommand } = await import('./policy-change.ts')
    await whyCommand(operationId, options)
  })

asking(policy.command('rerun'))
  .description('Makes a decision of the past again, from its entry in the log and the policy of then. Exit code 1 where it is another one.')
  .argument('<operation>', 'id of the operation')
  .action(async (operationId: string, options: Ask) => {
    const { rerunCommand } = await import('./policy-change.ts')
    await rerunCommand(operationId, options)
  })

const hold = program.command('hold').description('For who approves what the policy holds, and who waits for it. docs/holds.md')

asking(hold.command('list'))
  .description('Lists held requests, the newest first.')
  .option('--mine', 'only those that you asked for')
  .option('--state <state>', 'waiting, run, refused, withdrawn or expired')
  .action(async (options: Ask & { mine?: boolean; state?: string }) => {
    const { listHoldsCommand } = await import('./hold.ts')
    await listHoldsCommand(options)
  })

asking(hold.command('show'))
  .description('Shows a held request with what was sent.')
  .argument('<id>', 'of the held request')
  .action(async (id: string, options: Ask) => {
    const { showHoldCommand } = await import('./hold.ts')
    await showHoldCommand(id, options)
  })

asking(hold.command('approve'))
  .description('Approves a held request, as another person than who asked.')
  .argument('<id>', 'of the held request')
  .requiredOption('--digest <digest>', 'of what you looked at: gridseal hold show')
  .action(async (id: string, options: Ask & { digest: string }) => {
    const { approveHoldCommand } = await import('./hold.ts')
    await approveHoldCommand(id, options)
  })

asking(hold.command('refuse'))
  .description('Refuses a held request for good.')
  .argument('<id>', 'of the held request')
  .requiredOption('--reason <text>', 'why')
  .action(async (id: string, options: Ask & { reason: string }) => {
    const { refuseHoldCommand } = await import('./hold.ts')
    await refuseHoldCommand(id, options)
  })

asking(hold.command('withdraw'))
  .description('Withdraws a request of your own that is held.')
  .argument('<id>', 'of the held request')
  .action(async (id: string, options: Ask) => {
    const { withdrawHoldCommand } = await import('./hold.ts')
    await withdrawHoldCommand(id, options)
  })

asking(hold.command('run'))
  .description('Does what you asked for, once it is approved. Prints the answer of the operation.')
  .argument('<id>', 'of the held request')
  .action(async (id: string, options: Ask) => {
    const { runHoldCommand } = await import('./hold.ts')
    await runHoldCommand(id, options)
  })

const admission = program
  .command('admission')
  .description('For officers: the security records of vendors and modules. Without a valid one every rule denies. docs/admissions.md')

/** What is filed of a vendor or module. */
const filing = (command: Command): Command =>
  asking(command)
    .requiredOption('--caller <kind:name>', 'vendor:NAME or module:NAME, registered already')
    .option('--organisation <name>', 'the company, as its business licence names it')
    .option('--licence-number <number>', 'of the business licence')
    .option('--licence <file>', 'the licence itself: its SHA-256 is filed')
    .option('--user-name <name>', 'who uses it')
    .option('--user-phone <phone>', 'their phone number')
    .option('--user-mail <mail>', 'their mail address')
    .option('--responsible-name <name>', 'who is held to account')
    .option('--responsible-phone <phone>', 'their phone number')
    .option('--responsible-mail <mail>', 'their mail address')
    .option('--assessment <reference>', 'what the security assessment is found by')
    .option('--report <file>', 'its report: its SHA-256 is filed')
    .option('--expires <time>', 'when it ends (RFC 3339): until then the caller is admitted')

filing(admission.command('file'))
  .description('Files the admission of a vendor or module. Another officer approves it; then you run it.')
  .action(async (options: FilingOptions) => {
    const { fileAdmissionCommand } = await import('./admission.ts')
    await fileAdmissionCommand(options)
  })

filing(admission.command('change'))
  .description('Changes what was filed, a part at a time. Persons at once; organisation and assessment once another officer has approved it.')
  .action(async (options: FilingOptions) => {
    const { changeAdmissionCommand } = await import('./admission.ts')
    await changeAdmissionCommand(options)
  })

asking(admission.command('suspend'))
  .description('Suspends an admission at once: 5 s later the caller can do nothing, on open connections too.')
  .requiredOption('--caller <kind:name>', 'vendor:NAME or module:NAME')
  .requiredOption('--reason <text>', 'why')
  .action(async (options: Ask & { caller: string; reason: string }) => {
    const { suspendAdmissionCommand } = await import('./admission.ts')
    await suspendAdmissionCommand(options)
  })

asking(admission.command('resume'))
  .description('Ends a suspension. Another officer approves it; then you run it.')
  .requiredOption('--caller <kind:name>', 'vendor:NAME or module:NAME')
  .requiredOption('--reason <text>', 'why')
  .action(async (options: Ask & { caller: string; reason: string }) => {
    const { resumeAdmissionCommand } = await import('./admission.ts')
    await resumeAdmissionCommand(options)
  })

asking(admission.command('show'))
  .description('Shows an admission with the persons behind it.')
  .requiredOption('--caller <kind:name>', 'vendor:NAME or module:NAME')
  .option('--history', 'every version, the newest first')
  .action(async (options: Ask & { caller: string; history?: boolean }) => {
    const { showAdmissionCommand } = await import('./admission.ts')
    await showAdmissionCommand(options)
  })

asking(admission.command('list'))
  .description('Lists all admissions, or those that end soon.')
  .option('--expires-before <time>', 'only those that end before (RFC 3339)')
  .action(async (options: Ask & { expiresBefore?: string }) => {
    const { listAdmissionsCommand } = await import('./admission.ts')
    await listAdmissionsCommand(options)
  })

const grant = program
  .command('grant')
  .description(
    'For officers: emergency and temporary access. For hours, callers may do what no rule allows them; all of it is logged in full. docs/admissions.md',
  )

const many = (value: string, all: string[]): string[] => [...all, value]

asking(grant.command('issue'))
  .description('Asks for a grant. Another officer approves it; then you run it.')
  .requiredOption('--caller <kind:name>', 'who may (many times)', many, [])
  .requiredOption('--operation <name>', 'what they may: an operation or a pattern such as kms.key.* (many times)', many, [])
  .option('--zone <name>', 'only from this zone of the policy (many times)', many, [])
  .option('--network <cidr>', 'only from this network (many times)', many, [])
  .requiredOption('--reason <text>', 'why, for who approves it and for the log')
  .option('--from <time>', 'when it begins (RFC 3339); without it at once')
  .requiredOption('--until <time>', 'when it ends (RFC 3339)')
  .action(async (options: IssueOptions) => {
    const { issueGrantCommand } = await import('./grant.ts')
    await issueGrantCommand(options)
  })

asking(grant.command('revoke'))
  .description('Ends a grant: 5 s later it allows nothing on any node.')
  .argument('<id>', 'of the grant')
  .requiredOption('--reason <text>', 'why')
  .action(async (id: string, options: Ask & { reason: string }) => {
    const { revokeGrantCommand } = await import('./grant.ts')
    await revokeGrantCommand(id, options)
  })

asking(grant.command('list'))
  .description('Lists the newest grants.')
  .option('--live', 'only those that count, now or later')
  .action(async (options: Ask & { live?: boolean }) => {
    const { listGrantsCommand } = await import('./grant.ts')
    await listGrantsCommand(options)
  })

asking(grant.command('show'))
  .description('Shows a grant.')
  .argument('<id>', 'of the grant')
  .action(async (id: string, options: Ask) => {
    const { showGrantCommand } = await import('./grant.ts')
    await showGrantCommand(id, options)
  })

asking(grant.command('report'))
  .description('Reports what was done under a grant, from the log.')
  .argument('<id>', 'of the grant')
  .action(async (id: string, options: Ask) => {
    const { reportGrantCommand } = await import('./grant.ts')
    await reportGrantCommand(id, options)
  })

program.exitOverride()
try {
  await program.parseAsync()
} catch (error) {
  if (error instanceof CommanderError) process.exitCode = error.exitCode
  else {
    const told = error instanceof CliError || error instanceof ConfigError || error instanceof Problem
    console.error(`gridseal: ${error instanceof Problem ? error.detail : error instanceof Error ? error.message : String(error)}`)
    if (!told && error instanceof Error) console.error(error.stack)
    process.exitCode = error instanceof CliError ? error.exitCode : 1
  }
}
