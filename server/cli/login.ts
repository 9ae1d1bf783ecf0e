import { renderUnicodeCompact } from 'uqr'
import { CliError } from './cli-error.ts'
import { describeSessions } from './person.ts'
import { Prompt } from './prompt.ts'
import { readSessionFile, sessionFileIfThere, writeSessionFile } from './session-file.ts'
import { type ReachOptions, withClient } from './with-client.ts'

/** What people do for themselves, without a certificate. */
export interface LoginOptions extends ReachOptions {
  readonly session: string
}

/** Asks for password and code, and writes the session file. */
export async function loginCommand({
  name,
  recovery,
  session,
  ...reach
}: LoginOptions & { readonly name: string; readonly recovery?: boolean }): Promise<void> {
  const known = sessionFileIfThere(session)
  const device = known.device?.name === name ? known.device : undefined
  const opened = await prompted(async (prompt) => {
    const password = await prompt.ask('Password', { secret: true })
    const code = (await prompt.ask(recovery === true ? 'Recovery code' : 'Code of the authenticator')).trim()
    return withClient(reach, (client) =>
      client.post<{ token: string; caller: string; expiresAt: string; idleSeconds: number; device?: string; recoveryCodesLeft: number }>(
        '/v1/policies/session',
        {
          ...{ name, password, ...(recovery === true ? { recoveryCode: code } : { code }) },
          ...(device === undefined ? {} : { device: device.token }),
        },
      ),
    )
  })
  const { token, caller, expiresAt, idleSeconds, recoveryCodesLeft } = opened
  const kept = opened.device === undefined ? device : { name, token: opened.device }
  writeSessionFile(session, { token, caller, expiresAt, ...(kept === undefined ? {} : { device: kept }) })
  console.log(
    `You are ${caller}, until ${expiresAt}, or ${String(Math.round(idleSeconds / 60))} minutes without use. Commands take it by --session ${session}` +
      (recovery === true ? `\n${String(recoveryCodesLeft)} recovery codes are left. With none and no authenticator an officer's ticket helps.` : ''),
  )
}

/** Ends the session, and takes it out of the file. */
export async function logoutCommand({ session, ...reach }: LoginOptions): Promise<void> {
  const { device } = readSessionFile(session)
  await withClient({ ...reach, session }, (client) => client.post('/v1/policies/session/close')).finally(() =>
    writeSessionFile(session, device === undefined ? {} : { device }),
  )
  console.log('You are logged out.')
}

export async function ownSessionsCommand({ end, ...options }: LoginOptions & { readonly end?: string }): Promise<void> {
  if (end !== undefined && !/^[0-9a-f-]{36}$/.test(end)) throw new CliError(`${end} is not the id of a session.`)
  await withClient(options, async (client) => {
    if (end !== undefined) await client.post(`/v1/policies/sessions/${end}/revoke`)
    const { sessions } = await client.get<{ sessions: Parameters<typeof describeSessions>[0] }>('/v1/policies/sessions')
    console.log(describeSessions(sessions).join('\n'))
  })
}

/** Password, secret of the codes, first code: by a ticket. A session file keeps what the device is known by. */
export function enrolCommand({ session, ...reach }: ReachOptions): Promise<void> {
  return prompted(async (prompt) => {
    if (session !== undefined) sessionFileIfThere(session)
    const ticket = (await prompt.ask('Ticket', { secret: true })).trim()
    const password = await newPassword(prompt)
    await withClient(reach, async (client) => {
      await client.post('/v1/policies/password', { ticket, password })
      const { uri, secret } = await client.post<{ uri: string; secret: string }>('/v1/policies/totp', { ticket })
      console.error(`${renderUnicodeCompact(uri, { ecc: 'M', border: 4 })}\nRead this with an authenticator, or type its secret there: ${secret}`)
      const code = (await prompt.ask('The code that it shows')).trim()
      const { name, recoveryCodes, device } = await client.post<{ name: string; recoveryCodes: string[]; device: string }>('/v1/policies/totp/confirm', {
        ticket,
        code,
      })
      if (session !== undefined) writeSessionFile(session, { device: { name, token: device } })
      console.error(`You log in as ${name}: gridseal login --name ${name}\nRecovery codes, each good once in place of a code, shown this once:`)
      console.log(recoveryCodes.join('\n'))
    })
  })
}

/** Every session ends with it. */
export function changePasswordCommand(options: LoginOptions): Promise<void> {
  return prompted(async (prompt) => {
    const password = await prompt.ask('Password', { secret: true })
    const fresh = await newPassword(prompt)
    const code = (await prompt.ask('Code of the authenticator')).trim()
    await withClient(options, (client) => client.post('/v1/policies/password/change', { password, newPassword: fresh, code }))
    console.log('The password is changed, and every session of yours has ended. Log in again.')
  })
}

async function newPassword(prompt: Prompt): Promise<string> {
  const password = await prompt.ask('New password, at least 12 characters', { secret: true })
  if ((await prompt.ask('The same again', { secret: true })) !== password) throw new CliError('These were two passwords. Nothing was changed.')
  return password
}

async function prompted<Result>(work: (prompt: Prompt) => Promise<Result>): Promise<Result> {
  const prompt = new Prompt()
  try {
    return await work(prompt)
  } finally {
    prompt.close()
  }
}
