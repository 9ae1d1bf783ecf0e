import type { Command } from 'commander'
import type { AskOptions as Ask } from './api-command.ts'
import { asking } from './service-options.ts'

/** What the log can show of persons and cards, and what is wrong with the site. */
export function addLogCommands(program: Command): void {
  const personal = program
    .command('personal')
    .description('For officers: personal values behind entries of the log, counted and erased by two. docs/personal-values.md')
  const subjects = (command: Command): Command =>
    asking(command).requiredOption('--subjects <file>', 'a line for each value: its name, a space, the value; * for any name. - reads standard input')

  subjects(personal.command('find'))
    .description('Counts what the log can show of a person or card.')
    .action(async (options: Ask & { subjects: string }) => {
      const { findPersonalCommand } = await import('./personal.ts')
      await findPersonalCommand(options)
    })

  subjects(personal.command('erase'))
    .description('Erases it. Another officer approves it; then you run it.')
    .requiredOption('--reason <text>', 'why, for who approves it and for the log')
    .action(async (options: Ask & { subjects: string; reason: string }) => {
      const { erasePersonalCommand } = await import('./personal.ts')
      await erasePersonalCommand(options)
    })

  const alarm = program.command('alarm').description('For officers: what is wrong, what it means and what to do. Auditors list it too. docs/alarms.md')

  asking(alarm.command('list'))
    .description('Lists the alarms that are open.')
    .option('--all', 'those that ended too')
    .action(async (options: Ask & { all?: boolean }) => {
      const { listAlarmsCommand } = await import('./alarm.ts')
      await listAlarmsCommand(options)
    })

  asking(alarm.command('acknowledge'))
    .description('Says that you look after an alarm. It ends when its cause is gone.')
    .argument('<id>', 'of the alarm')
    .requiredOption('--reason <text>', 'what you do about it')
    .action(async (id: string, options: Ask & { reason: string }) => {
      const { acknowledgeAlarmCommand } = await import('./alarm.ts')
      await acknowledgeAlarmCommand(id, options)
    })
}
