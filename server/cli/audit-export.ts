import { type ExportFormat, ExportError, exportToFile } from '../../clients/audit-export.ts'
import { CliError } from './cli-error.ts'
import { assertReach, type ReachOptions, withClient } from './with-client.ts'

export interface ExportOptions extends ReachOptions {
  readonly format: ExportFormat
  readonly out: string
  readonly from: string
  readonly to?: string
  readonly since?: string
  readonly until?: string
}

/** Writes an export of a running service into a file, and tells how far it is on standard error. */
export async function exportCommand({ format, out, from, to, since, until, ...options }: ExportOptions): Promise<void> {
  assertReach(options)
  const range = { from: indexOf(from), to: to === undefined ? undefined : indexOf(to) }
  const asked = await withClient(options, (client) =>
    exportToFile({ client, file: out, format, ...range, since, until, onProgress: (index, { to: end }) => tell(`${index + 1} of ${end} entries`) }).catch(
      (error: unknown) => {
        throw error instanceof ExportError ? new CliError(error.message) : error
      },
    ),
  )
  tell('')
  console.log(`${out}: entries ${asked.from} to ${asked.to}, as ${format}`)
}

/** One line that is written over on a terminal, and lines elsewhere. */
function tell(text: string): void {
  if (process.stderr.isTTY) process.stderr.write(`\r\u001b[2K${text}`)
  else if (text !== '') process.stderr.write(`${text}\n`)
}

export function indexOf(text: string): number {
  if (!/^(0|[1-9]\d{0,15})$/.test(text)) throw new CliError(`${text} is no index of an entry.`)
  return Number(text)
}
