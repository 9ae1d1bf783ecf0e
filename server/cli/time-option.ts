import { CliError } from './cli-error.ts'

/** The value of an option that names a time, as the API takes it (RFC 3339, UTC). */
export function timeOf(text: string, option: string): string {
  const time = Date.parse(text)
  if (Number.isNaN(time)) throw new CliError(`${option}: found ${text}, expected a time (RFC 3339): 2026-11-26T18:00:00+08:00.`)
  return new Date(time).toISOString()
}
