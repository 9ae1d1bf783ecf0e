import type { Command } from 'commander'

/** For who gets a client certificate. */
export function addCallerCommands(program: Command): void {
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
}
