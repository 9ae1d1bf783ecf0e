#!/usr/bin/env node
import { Command, CommanderError } from 'commander'
import { Problem } from '../../core/problem.ts'
import { ConfigError, describeSettings, readConfig } from '../config.ts'
import { CliError } from './cli-error.ts'

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
  gridseal vendor open --help                                checks and opens a delivery on the vendor's side
  gridseal token check --help                                checks whether a token can serve
  gridseal token restore --help                              puts the keys of a lost token into another one
  gridseal audit verify --help                               checks a whole exported log offline
  gridseal audit verify-proof --help                         checks one entry of the log offline
  gridseal key verify-statement --help                       checks offline what the token says of a key
  gridseal attest verify --help                              checks an attestation result offline`,
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
  .command('replace-checkpoint-key')
  .description('Gives the log a new checkpoint key in the same token, and destroys the old one, while the service is stopped.')
  .option('--token <uri>', 'PKCS#11 URI of the token; without it that of the settings')
  .addHelpText('after', '\nWhen it was cut off, the same command goes on.')
  .action(async (options: { token?: string }) => {
    const { replaceCheckpointKeyCommand } = await import('./token-ceremonies.ts')
    await replaceCheckpointKeyCommand({ config: readConfig(), ...options })
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
