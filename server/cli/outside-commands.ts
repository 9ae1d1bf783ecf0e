import { type Command, Option } from 'commander'
import { EXPORT_FORMATS } from '../../clients/audit-export.ts'
import { FIELD_NAMES, PATTERN_FIELDS } from '../../policies/audit/search/field.ts'
import { readConfig } from '../config.ts'
import type { EvidenceOptions } from './audit-evidence.ts'
import type { ExportOptions } from './audit-export.ts'
import type { MirrorOptions } from './audit-mirror.ts'
import type { RecoverOptions } from './audit-recover.ts'
import type { SearchOptions } from './audit-search.ts'
import type { RevealOptions } from './personal.ts'
import { asking, collect, reaching, TRUST } from './service-options.ts'

/** Programs of the other side: vendors, auditors, whoever relies on keys and results. Most work offline. */
export function addOutsideCommands(program: Command): void {
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
    .requiredOption('--trust <root.pem>', TRUST)
    .option('--out <keys.ndjson>', 'where the keys go in clear (mode 0600); without it they are checked and forgotten')
    .action(async (options: { delivery: string; transportKey: string; key: string; trust: string; out?: string }) => {
      const { openDeliveryFile } = await import('./vendor.ts')
      await openDeliveryFile(options)
    })

  const audit = program
    .command('audit')
    .description('For auditors: the log, verified, searched, copied. For who keeps it on the host: reindex, recover, prune.')

  audit
    .command('verify')
    .description('Verifies a whole log offline: every entry in the tree, every tile and checkpoint, no gap, no open operation. Exit 1 when anything is wrong.')
    .argument('<log>', 'the folder that audit mirror keeps, the URL of a web server over it, or a file of GET /v1/policies/audit/export')
    .addOption(logKeys())
    .option('--known <checkpoint>', 'a checkpoint kept from earlier, which the log must still contain (repeatable)', collect, [])
    .addOption(witnesses())
    .addHelpText('after', '\nThe key is told once, by a way of its own: GET /audit/key of the plain listener shows it.')
    .action(async (log: string, { key, known, witnessPolicy }: TrustOptions & { known: readonly string[] }) => {
      const { verifyAuditLog } = await import('./audit.ts')
      await verifyAuditLog({ log, keys: key, known, ...(witnessPolicy === undefined ? {} : { witnessPolicy }) })
    })

  audit
    .command('verify-consistency')
    .description('Verifies offline that the log of a newer checkpoint begins with that of an older one. Exit 1 when it does not.')
    .argument('<older>', 'a file of a checkpoint')
    .argument('<newer>', 'a file of a later one')
    .option('--tiles <log>', 'the folder or URL of a tlog-tiles log to make the proof of')
    .option('--proof <file>', 'the proof itself: hashes in base64, one a line')
    .addOption(logKeys())
    .action(async (older: string, newer: string, { key, ...options }: TrustOptions & { tiles?: string; proof?: string }) => {
      const { verifyConsistency } = await import('./audit.ts')
      await verifyConsistency({ older, newer, keys: key, ...options })
    })

  reaching(audit.command('mirror'))
    .description('Brings a folder up to the log of a running service, verified as it comes: a static tlog-tiles log for audit verify, or for a web server.')
    .argument('<folder>', 'where the log is kept; it is made when it is not there. Its entries name people')
    .addOption(logKeys('--log-key <vkey>'))
    .addOption(witnesses())
    .addHelpText('after', '\nMay be stopped at any moment, and goes on where it was. Exit 1 when the log does not extend what the folder has.')
    .action(async (folder: string, options: MirrorOptions) => {
      const { mirrorCommand } = await import('./audit-mirror.ts')
      await mirrorCommand(folder, options)
    })

  reaching(audit.command('search'))
    .description('Finds entries of the log of a running service, and prints each as a line of JSON; or counts them.')
    .argument('[query]', 'such as: operation:kms.key.* AND NOT code:ok since:2026-01-01')
    .option('--order <order>', 'newest or oldest first; without it newest')
    .option('--from <index>', 'the index to start at: what the page before said')
    .option('--limit <n>', 'how many at most')
    .option('--personal <name>', 'asks for a personal value of this name, such as iccid, which the log keeps its blind index of (again for another)', collect)
    .option('--count <field>', 'counts in groups in place of entries: by a field, or by time')
    .option('--bucket-ms <ms>', 'of --count time: how wide a group is')
    .addHelpText(
      'after',
      `
Fields: ${FIELD_NAMES.join(', ')}, id (of an operation), since, until. Several values: code:ok,forbidden. AND, OR, NOT and brackets; what stands side by side is AND.
Patterns (* and ?): ${PATTERN_FIELDS.join(', ')}. An address may be a network: address:192.0.2.0/24. Values with blanks or commas go in double quotes.

Examples:
  gridseal audit search code:login-failed --session ann.session --trust root.pem
  gridseal audit search 'operation:kms.key.* AND NOT code:ok since:2026-01-01' --count caller --session ann.session --trust root.pem`,
    )
    .action(async (query: string | undefined, options: SearchOptions) => {
      const { searchCommand } = await import('./audit-search.ts')
      await searchCommand(query, options)
    })

  audit
    .command('reindex')
    .description(
      'On the host of the service, beside it or while it stands still: makes the index that the log is searched by anew. The log itself is not touched.',
    )
    .option('--check', 'compares the index with the entries, and changes nothing. Exit 1 when they differ')
    .action(async (options: { check?: boolean }) => {
      const { reindexCommand } = await import('./audit-index.ts')
      await reindexCommand(readConfig(), options)
    })

  audit
    .command('recover')
    .description(
      'On the host of the service, while it is stopped: lets the log go on, under another origin, where entries that it signed are lost for good. Without --accept-loss it only tells what is lost.',
    )
    .option('--checkpoint <file>', 'a signed checkpoint that another node or an auditor keeps (many times)', collect, [])
    .option('--accept-loss <n>', 'does it: n is the number of entries that it told. Two people: the user’s PIN, and the officer’s (GRIDSEAL_OFFICER_PIN_FILE)')
    .option('--reason <text>', 'why they cannot be had back; it is kept')
    .option('--issued <first-last>', 'ICCIDs of orders that are lost (many times)', collect, [])
    .option('--iccid-margin <n>', 'so many ICCIDs behind each run of ordered ones count as issued')
    .option('--nothing-ordered', 'no order of cards was taken since')
    .addHelpText('after', '\nA newer copy of the database is better than this. More: docs/log-recovery.md\nExit codes: 0, told or done; 1, refused.')
    .action(async (options: RecoverOptions) => {
      const { recoverLogCommand } = await import('./audit-recover.ts')
      await recoverLogCommand(readConfig(), options)
    })

  audit
    .command('prune')
    .description(
      'On the host of the service, which runs: takes entries that an archive has out of the database. Authorised before by: gridseal token authorise prune-log',
    )
    .requiredOption('--before <index>', 'the first entry that is kept, a multiple of 256')
    .requiredOption('--archive <log>', 'the folder that audit mirror keeps, or the URL of a web server over it: it is verified first')
    .addHelpText('after', '\nWhen it was cut off, the same command goes on. More: docs/log-archive.md')
    .action(async (options: { before: string; archive: string }) => {
      const { pruneCommand } = await import('./audit-prune.ts')
      await pruneCommand({ config: readConfig(), ...options })
    })

  audit
    .command('entry')
    .description('Writes the exact bytes of one entry of an archive, which verify-proof takes.')
    .argument('<archive>', 'the folder that audit mirror keeps, or the URL of a web server over it')
    .argument('<index>', 'the index of the entry')
    .requiredOption('--out <file>', 'where they go (mode 0600)')
    .action(async (archive: string, index: string, { out }: { out: string }) => {
      const { writeEntry } = await import('./audit.ts')
      await writeEntry({ archive, index, out })
    })

  asking(audit.command('reveal'))
    .description('Asks to see the personal values behind entries. An officer approves it; then gridseal hold run shows them.')
    .requiredOption('--entry <index>', 'the index of an entry (many times)', collect, [])
    .option('--name <name>', 'only values of this name, such as iccid (many times)', collect, [])
    .requiredOption('--reason <text>', 'why, for who approves it and for the log')
    .action(async (options: RevealOptions) => {
      const { revealCommand } = await import('./personal.ts')
      await revealCommand(options)
    })

  audit
    .command('verify-proof')
    .description('Verifies offline that one entry is in the log, and prints what it says. Exit 1 when anything is wrong.')
    .argument('<entry>', 'a file of the entry’s exact bytes')
    .argument('<proof>', 'its proof (C2SP tlog-proof)')
    .addOption(logKeys())
    .addOption(witnesses())
    .addHelpText('after', '\nGET /v1/policies/audit/operations/ID/proof gives both: `bytes` (base64 of the first file) and `proof` (the second file’s text).')
    .action(async (entry: string, proof: string, { key, witnessPolicy }: TrustOptions) => {
      const { verifyProof } = await import('./audit.ts')
      await verifyProof({ entry, proof, keys: key, ...(witnessPolicy === undefined ? {} : { witnessPolicy }) })
    })

  reaching(audit.command('export'))
    .description('Writes the log of a running service, or a part of it, into a file. Run again after it was cut off, it goes on where it was.')
    .addOption(new Option('--format <format>', 'ndjson for gridseal audit verify; csv; ocsf: events of OCSF 1.9.0').choices(EXPORT_FORMATS).default('ndjson'))
    .requiredOption('--out <file>', 'where it goes, once it is whole; until then FILE.part')
    .option('--from <index>', 'the index to start at', '0')
    .option('--to <index>', 'the index to end before; without it what is signed')
    .option('--since <time>', 'entries written from then on (RFC 3339); of csv and ocsf')
    .option('--until <time>', 'entries written before then')
    .action(async (options: ExportOptions) => {
      const { exportCommand } = await import('./audit-export.ts')
      await exportCommand(options)
    })

  reaching(audit.command('evidence'))
    .description('Has a running service make an evidence pack: entries with their proofs and the policies that decided, in one signed file.')
    .option('--operation <id>', 'all entries of this operation; may be given again', collect)
    .option('--from <index>', 'or of a range: the index to start at')
    .option('--to <index>', 'and the one to end before')
    .requiredOption('--out <file>', 'where it goes')
    .action(async (options: EvidenceOptions) => {
      const { evidenceCommand } = await import('./audit-evidence.ts')
      await evidenceCommand(options)
    })

  audit
    .command('verify-evidence')
    .description('Verifies an evidence pack offline, and prints what it shows. Exit 1 when it is not to be believed.')
    .argument('<pack>', 'the file')
    .addOption(logKeys())
    .requiredOption('--trust <root.pem>', 'the service’s root certificate, from its officers: it stands above the key that signs packs')
    .option('--at <time>', 'the time to verify for (RFC 3339); without it now')
    .action(async (file: string, { key, trust, at }: { key: readonly string[]; trust: string; at?: string }) => {
      const { verifyEvidenceFile } = await import('./audit-evidence.ts')
      verifyEvidenceFile({ file, keys: key, trust, ...(at === undefined ? {} : { at }) })
    })

  const key = program.command('key').description('For who relies on a key of the service.')

  key
    .command('verify-statement')
    .description('Verifies offline a statement of what a key is, and prints it. Exit 1 when it is not to be believed.')
    .argument('<statement>', 'a file of the answer of GET /v1/kms/keys/ID/statement, or of its field `signed`')
    .requiredOption('--trust <root.pem>', TRUST)
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
}

interface TrustOptions {
  readonly key: readonly string[]
  readonly witnessPolicy?: string
}

const logKeys = (flags = '--key <vkey>'): Option =>
  new Option(flags, 'the log’s verifier key (C2SP note form), or a file that holds it; again for each of its keys, in their order, once it was replaced')
    .argParser(collect)
    .makeOptionMandatory()

const witnesses = (): Option => new Option('--witness-policy <file>', 'the witnesses that must have cosigned the checkpoint (C2SP tlog-policy)')
