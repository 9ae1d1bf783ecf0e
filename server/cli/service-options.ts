import { type Command, Option } from 'commander'

export const SERVICE_URL = new Option('--url <url>', 'the service').default('https://127.0.0.1:8443')

export const TRUST = 'the service’s root certificate, from its officers'

/** Where the service is, and who asks. */
export const reaching = (command: Command): Command =>
  command
    .addOption(SERVICE_URL)
    .requiredOption('--trust <root.pem>', TRUST)
    .option('--certificate <chain.pem>', 'your certificate')
    .option('--key <key.pem>', 'its private key')
    .option('--session <file>', 'in place of a certificate: what gridseal login wrote')

/** As {@link reaching}, for one answer. */
export const asking = (command: Command): Command => reaching(command.option('--json', 'the answer as JSON'))

/** For officers alone: they have no sessions. */
export const askingAsOfficer = (command: Command): Command =>
  command
    .option('--json', 'the answer as JSON')
    .addOption(SERVICE_URL)
    .requiredOption('--certificate <chain.pem>', 'the officer’s certificate')
    .requiredOption('--key <key.pem>', 'its private key')
    .requiredOption('--trust <root.pem>', TRUST)

/** The values of an option that may be given again. */
export const collect = (value: string, before: readonly string[] | undefined): readonly string[] => [...(before ?? []), value]
