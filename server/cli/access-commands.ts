import type { Command } from 'commander'
import type { FilingOptions } from './admission.ts'
import type { IssueOptions } from './grant.ts'
import { asking, collect } from './service-options.ts'
import type { AskOptions as Ask } from './api-command.ts'

/** Who is let in, and who may more for a while: admissions and grants. */
export function addAccessCommands(program: Command): void {
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

  asking(grant.command('issue'))
    .description('Asks for a grant. Another officer approves it; then you run it.')
    .requiredOption('--caller <kind:name>', 'who may (many times)', collect, [])
    .requiredOption('--operation <name>', 'what they may: an operation or a pattern such as kms.key.* (many times)', collect, [])
    .option('--zone <name>', 'only from this zone of the policy (many times)', collect, [])
    .option('--network <cidr>', 'only from this network (many times)', collect, [])
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
}
