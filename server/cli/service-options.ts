import { type Command, Option } from 'commander'

export const SERVICE_URL = new Option('--url <url>', 'the service').default('https://127.0.0.1:8443')

export const TRUST = 'the service’s root certificate, from its officers'

/** Where the service is, and who asks. */
export const asking = (command: Command): Command =>
  command
    .option('--json', 'the answer as JSON')
    .addOption(SERVICE_URL)
    .requiredOption('--trust <root.pem>', TRUST)
    .option('--certificate <chain.pem>', 'your certificate')
    .option('--key <key.pem>', 'its private key')
    .option('--session <file>', 'in place of a certificate: what gridseal login wrote')
