import { closeSync, constants, existsSync, openSync, readFileSync, renameSync, writeSync } from 'node:fs'
import { z } from 'zod'
import { CliError } from './cli-error.ts'

const TOKEN = z.string().regex(/^[A-Za-z0-9_-]{43}$/)
const FILE = z.strictObject({
  /** Absent after logging out: the device's token stays. */
  token: TOKEN.optional(),
  caller: z.string().optional(),
  expiresAt: z.string().optional(),
  /** Of the person of this name: failures of others do not make logins on this device wait. It lets nobody in. */
  device: z.strictObject({ name: z.string(), token: z.string() }).optional(),
})
export type SessionFile = z.infer<typeof FILE>

/** What stands in a session file. Throws a {@link CliError}. */
export function openSessionFile(path: string): SessionFile {
  try {
    return FILE.parse(JSON.parse(readFileSync(path, 'utf8')))
  } catch {
    throw new CliError(`${path} is no session file. gridseal login writes one.`)
  }
}

/** Of who has logged in. Throws a {@link CliError}. */
export function readSessionFile(path: string): SessionFile & { readonly token: string } {
  const { token, ...rest } = openSessionFile(path)
  if (token === undefined) throw new CliError(`${path} has no session. Log in: gridseal login --session ${path} ...`)
  return { ...rest, token }
}

export const sessionFileIfThere = (path: string): SessionFile => (existsSync(path) ? openSessionFile(path) : {})

/** Mode 0600 from its first byte on; whole, or as it was. */
export function writeSessionFile(path: string, content: SessionFile): void {
  const beside = `${path}.${String(process.pid)}`
  const file = openSync(beside, constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL, 0o600)
  try {
    writeSync(file, `${JSON.stringify(content, undefined, 2)}\n`)
  } finally {
    closeSync(file)
  }
  renameSync(beside, path)
}
