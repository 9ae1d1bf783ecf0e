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
  gridseal audit verify --help                               checks a whole exported log offline
  gridseal audit verify-proof --help                         checks one entry of the log offline
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
      console.log(`${name.padEnd(22)}${variable.padEnd(34)}${fallback === '' ? '' : `[${fallback}]`}\n    ${about}`)
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

const audit = program.command('audit').description('For auditors.')

audit
  .command('verify')
  .description('Verifies an exported log offline: every entry in the tree, every checkpoint, no gap, no open operation. Exit 1 when anything is wrong.')
  .argument('<export>', 'the file of GET /v1/policies/audit/export')
  .requiredOption('--key <vkey>', 'the log’s verifier key (C2SP note form), or a file that holds it')
  .addHelpText('after', '\nThe key is told once, by a way of its own: GET /audit/key of the plain listener shows it.')
  .action(async (file: string, { key }: { key: string }) => {
    const { verifyExport } = await import('./audit.ts')
    await verifyExport({ file, key })
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
    process.exitCode = 1
  }
}
