import { CommanderError, type Command } from 'commander'
import { asking, collect } from './service-options.ts'
import type { AskOptions as Ask } from './api-command.ts'

/** The policy: files, changes, and what it holds. */
export function addPolicyCommands(program: Command): void {
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
    .option('--fact <name=value>', 'what the operation states, such as owner=$caller (many times)', collect, [])
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
}
