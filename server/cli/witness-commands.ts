import type { Command } from 'commander'

/** The program of who witnesses logs: it needs no service, and no service should hold its key. */
export function addWitnessCommands(program: Command): void {
  const witness = program
    .command('witness')
    .description('Cosigns checkpoints of logs that only grow (C2SP tlog-witness). Runs on another machine, by other people, than the service.')

  witness
    .command('init')
    .description('Makes a witness: a folder with its key (mode 0600). Prints the verifier key, for the policies of who trusts it.')
    .argument('<folder>', 'a new folder')
    .requiredOption('--name <name>', 'the witness’s name, a URL without a scheme: witness.audit.example/w1')
    .action(async (folder: string, { name }: { name: string }) => {
      const { makeWitness } = await import('./witness.ts')
      makeWitness({ folder, name })
    })

  witness
    .command('add-log')
    .description('Watches a log; or takes one more key of a log that it watches, when that was replaced. A witness that serves takes it up within a second.')
    .argument('<folder>', 'the witness’s folder')
    .argument('<vkey>', 'the log’s verifier key (C2SP note form), from its officers')
    .action(async (folder: string, vkey: string) => {
      const { watchLog } = await import('./witness.ts')
      watchLog({ folder, vkey })
    })

  witness
    .command('serve')
    .description('Answers POST /add-checkpoint until it is told to stop (SIGTERM, SIGINT).')
    .argument('<folder>', 'the witness’s folder')
    .requiredOption('--listen <host:port>', 'where; port 0 takes a free one')
    .addHelpText('after', '\nNever serve a folder that was set back to an older copy: make a new witness instead.')
    .action(async (folder: string, { listen }: { listen: string }) => {
      const { serveWitness } = await import('./witness.ts')
      await serveWitness({ folder, listen })
    })
}
