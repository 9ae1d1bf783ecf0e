import { Problem } from '../core/problem.ts'
import { type ChildEnvironment, entryUrl, forkEntry } from './child.ts'
import { existingToken } from './chosen-token.ts'
import type { TokenSettings } from './lane-message.ts'
import { type ModuleOptions, tokenOfUri, tokenWithPin } from './named-token.ts'
import { parsePkcs11Uri, PROMPT } from './pkcs11-uri.ts'
import type { TokenReport } from './token-report.ts'

/** What the process of a check says. */
export type CheckMessage =
  | { readonly kind: 'trying'; readonly what: string }
  | { readonly kind: 'report'; readonly report: TokenReport }
  /** Not one token, or no PIN for it. `found`: how many tokens the settings name. `tokens`: all that the module has. */
  | { readonly kind: 'tokens'; readonly found: number; readonly tokens: readonly { readonly label: string; readonly serial: string }[] }
  | { readonly kind: 'refused'; readonly reason: string }

/** Without a `pinSource` it is only told which tokens there are. */
export type CheckSettings = Omit<TokenSettings, 'pinSource'> & Partial<Pick<TokenSettings, 'pinSource'>>

export interface CheckOptions extends ModuleOptions {
  /** A PKCS#11 URI, a module whose only token is meant, or the data folder of a service with its default token. */
  readonly subject: { readonly uri: string } | { readonly modulePath: string } | { readonly dataFolder: string }
  /** Asks a person for the user's PIN, where no source is named. */
  readonly askPin?: () => Promise<string>
}

/** Nothing was found out of the token: it could not be reached as it was named. */
export class NotChecked extends Error {
  override readonly name = 'NotChecked'
}

/** The module crashed, or gave no answer. */
export class ModuleFailed extends Error {
  override readonly name = 'ModuleFailed'
}

/** How long a module may take for one thing. */
const PATIENCE_MS = 60_000

/**
 * Tries what Gridseal needs of a token, in a process of its own, with keys that end with it: none is left in the token, and it needs no key of ours.
 * Throws {@link NotChecked} or {@link ModuleFailed}.
 */
export async function checkToken(options: CheckOptions): Promise<TokenReport> {
  const { token, environment } = await nameToken(options)
  const child = forkEntry(entryUrl('token-check-process'), environment)
  return new Promise((resolve, reject) => {
    let what = 'starting'
    let last: CheckMessage | undefined
    let isLate = false
    const timer = setTimeout(() => {
      isLate = true
      child.kill('SIGKILL')
    }, PATIENCE_MS)
    child.on('message', (message: CheckMessage) => {
      timer.refresh()
      if (message.kind === 'trying') what = message.what
      else last = message
    })
    child.once('error', () => child.kill('SIGKILL'))
    child.once('exit', (code, signal) => {
      clearTimeout(timer)
      if (last?.kind === 'report') return resolve(last.report)
      if (last?.kind === 'refused') return reject(new NotChecked(`The token cannot be checked: ${last.reason}.`))
      if (last?.kind === 'tokens') return reject(new NotChecked(describeTokens(token.modulePath, last)))
      const end = isLate ? `gave no answer for ${PATIENCE_MS / 1000} seconds` : `ended its process (${signal ?? `exit code ${String(code)}`})`
      return reject(new ModuleFailed(`The module ${token.modulePath} ${end}. It was trying: ${what}.`))
    })
    child.send(token, () => undefined)
  })
}

async function nameToken({ subject, askPin, ...options }: CheckOptions): Promise<{ readonly token: CheckSettings; readonly environment: ChildEnvironment }> {
  try {
    if ('dataFolder' in subject) return existingToken({ ...options, dataFolder: subject.dataFolder })
    const { pinSource, ...place } = 'uri' in subject ? parsePkcs11Uri(subject.uri) : { modulePath: subject.modulePath, pinSource: undefined }
    if ('uri' in subject && pinSource !== undefined && pinSource !== PROMPT) return tokenOfUri(subject.uri, options)
    const named = tokenWithPin(place, (await askPin?.()) ?? '', options)
    if (askPin !== undefined) return named
    const { pinSource: _none, ...token } = named.token
    return { ...named, token }
  } catch (error) {
    if (error instanceof Problem) throw new NotChecked(error.detail, { cause: error })
    throw error instanceof TypeError ? new NotChecked(`The token is not checked: ${error.message}.`, { cause: error }) : error
  }
}

const NO_PIN = 'There is no PIN: name its source by pin-source=file:/path or pin-source=env:NAME, or run this at a terminal, which asks for it'

function describeTokens(modulePath: string, { found, tokens }: Extract<CheckMessage, { kind: 'tokens' }>): string {
  if (tokens.length === 0) return 'The module has no initialised token.'
  const uris = tokens.map(
    ({ label, serial }) => `  pkcs11:token=${encodeURIComponent(label)};serial=${encodeURIComponent(serial)}?module-path=${encodeURI(modulePath)}`,
  )
  const why = found === 0 ? 'The module has no such token' : found === 1 ? NO_PIN : 'The module has more than one token that fits'
  return `${why}. It has:\n${uris.join('\n')}`
}
