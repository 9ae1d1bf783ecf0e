import { createInterface } from 'node:readline'
import { Writable } from 'node:stream'
import { checkToken, type CheckOptions, isFit, ModuleFailed, NotChecked, type OperationReport, type TokenReport } from '../../pkcs11/index.ts'
import { readConfig } from '../config.ts'
import { CliError } from './cli-error.ts'

/** Exit codes of `gridseal token check`. 0: fit. */
const UNFIT = 1
const NOT_CHECKED = 2

export interface CheckCommand {
  readonly module?: string
  readonly token?: string
  readonly libraryParameters?: string
  readonly json?: boolean
}

/** Prints what a token can do and keeps to. The exit code is 1 when Gridseal cannot use it whole, and 2 when it could not be checked. */
export async function checkTokenCommand(command: CheckCommand): Promise<void> {
  const report = await check(command)
  console.log(command.json === true ? JSON.stringify(asJson(report), undefined, 2) : describeToken(report))
  if (!isFit(report)) process.exitCode = UNFIT
}

async function check(command: CheckCommand): Promise<TokenReport> {
  try {
    return await checkToken({ ...subjectOf(command), ...(process.stdin.isTTY ? { askPin } : {}) })
  } catch (error) {
    if (error instanceof NotChecked) throw new CliError(error.message, NOT_CHECKED)
    if (error instanceof ModuleFailed) throw new CliError(error.message, UNFIT)
    throw error
  }
}

/** The token of the options, else that of the settings. */
function subjectOf({ module, token, libraryParameters }: CheckCommand): CheckOptions {
  if (module !== undefined && token !== undefined)
    throw new CliError('Name a module or a token, not both: the URI of --token has its module-path.', NOT_CHECKED)
  const given = libraryParameters === undefined ? {} : { libraryParameters }
  if (module !== undefined) return { subject: { modulePath: module }, ...given }
  if (token !== undefined) return { subject: { uri: token }, ...given }
  const config = readConfig()
  if (config.token === undefined) return { subject: { dataFolder: config.data } }
  return {
    subject: { uri: config.token },
    passEnvironment: config.tokenEnvironment,
    ...(config.tokenLibraryParameters === undefined ? {} : { libraryParameters: config.tokenLibraryParameters }),
    ...given,
  }
}

/** Asks at the terminal, and shows nothing of what is typed. */
async function askPin(): Promise<string> {
  process.stderr.write('User PIN of the token: ')
  const lines = createInterface({ input: process.stdin, output: new Writable({ write: (_chunk, _encoding, done) => done() }), terminal: true })
  try {
    return await new Promise((resolve, reject) => {
      lines.once('SIGINT', () => reject(new CliError('No PIN was given.', NOT_CHECKED)))
      lines.once('line', resolve)
    })
  } finally {
    lines.close()
    process.stderr.write('\n')
  }
}

const hex = (number: number): string => `0x${number.toString(16)}`
const named = ({ name, number }: OperationReport['mechanisms'][number]): string => `${name} (${hex(number)})`

const asJson = (report: TokenReport): object => ({
  fit: isFit(report),
  ...report,
  mechanisms: report.mechanisms.map(hex),
  operations: report.operations.map((one) => ({ ...one, mechanisms: one.mechanisms.map((mechanism) => ({ ...mechanism, number: hex(mechanism.number) })) })),
})

/** The report as text, with what it means and what to do. */
export function describeToken(report: TokenReport): string {
  const { modulePath, facts, mechanisms, operations, probes, tookMs } = report
  const unlisted = new Set(operations.flatMap((one) => one.mechanisms.filter(({ listed }) => !listed).map(named)))
  return [
    `module  ${modulePath}`,
    `        ${facts.module.manufacturer}, ${facts.module.description} ${facts.module.version}, Cryptoki ${facts.module.cryptoki}`,
    `token   ${facts.label}, serial ${facts.serial}, ${facts.manufacturer} ${facts.model}`,
    `        lists ${mechanisms.length} mechanisms${unlisted.size === 0 ? '' : `; of those that Gridseal knows not ${[...unlisted].join(', ')}`}`,
    '',
    'What Gridseal needs, tried with throw-away keys:',
    ...operations.flatMap(({ result, title, use, remark }) => [
      `  ${result.padEnd(9)}  ${title}${remark === undefined ? '' : `: ${remark}`}`,
      `             for ${use}`,
    ]),
    '',
    'What a token must refuse:',
    ...probes.map(
      ({ result, name, refuses, remark }) => `  ${result.padEnd(12)}  ${name}: ${refuses}${remark === undefined ? '' : ` (could not be probed: ${remark})`}`,
    ),
    '',
    ...verdict(report),
    `Tried in ${tookMs} ms. No key of the check is left in the token.`,
  ].join('\n')
}

function verdict(report: TokenReport): string[] {
  const { operations, probes } = report
  if (isFit(report)) return ['FIT: Gridseal can use this token.']
  const failed = operations.filter(({ result }) => result === 'no')
  const lines = ['NOT FIT: Gridseal cannot use this token, or not all of it.']
  for (const { title, need, use, wrong } of failed) {
    if (wrong) lines.push(`- ${title}: done, and wrongly. The service does not start. Ask the token’s maker.`)
    else if (need === 'start') lines.push(`- ${title}: the service does not start without it.`)
    else if (need === 'feature') lines.push(`- ${title}: what needs it is refused: ${use}.`)
  }
  const open = probes.filter(({ result }) => result !== 'enforced')
  for (const { name, otherwise } of open) lines.push(`- ${name} is not enforced: ${otherwise}.`)
  if (open.length > 0) {
    lines.push(
      'The service does not start on a token that does not enforce all of these. Look for a setting of the token that makes it, or choose another one.',
      `Only for tests: GRIDSEAL_INSECURE_TOKEN_IGNORES=${open.map(({ name }) => name).join(',')}`,
    )
  }
  return lines
}
