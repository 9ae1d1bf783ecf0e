import { readFileSync } from 'node:fs'
import { ApiClient, ApiProblem, type Connection } from '../../clients/api.ts'
import { certificateOf, pairFault } from '../../clients/key-pair.ts'
import { CliError } from './cli-error.ts'
import { readSessionFile } from './session-file.ts'

/** How a command reaches the service: by a certificate and its key, or by a session; by neither for what is open to anybody. */
export interface ReachOptions {
  readonly url: string
  readonly trust: string
  readonly certificate?: string
  readonly key?: string
  /** A file of `gridseal login`. */
  readonly session?: string
}

/** Throws a {@link CliError}: with what the service says, or that it does not answer. */
export async function withClient<Result>(options: ReachOptions, work: (client: ApiClient) => Promise<Result>): Promise<Result> {
  const client = new ApiClient(connectionOf(options))
  try {
    return await work(client)
  } catch (error) {
    if (error instanceof ApiProblem) throw new CliError(describeProblem(error))
    if (error instanceof CliError) throw error
    throw new CliError(describeSilence(options, error))
  } finally {
    client.close()
  }
}

function describeProblem({ detail, code, instance, body }: ApiProblem): string {
  const faults = Array.isArray(body['faults']) ? (body['faults'] as { readonly message: string; readonly line?: number; readonly column?: number }[]) : []
  const told = faults.map(({ line, column, message }) =>
    line === undefined ? `  ${message}` : `  line ${String(line)}, column ${String(column ?? 1)}: ${message}`,
  )
  return [`${detail} (${code}; ${instance})`, ...told].join('\n')
}

/** TLS found that another root issued what the service shows. */
const FOREIGN = ['SELF_SIGNED_CERT_IN_CHAIN', 'DEPTH_ZERO_SELF_SIGNED_CERT', 'UNABLE_TO_VERIFY_LEAF_SIGNATURE', 'UNABLE_TO_GET_ISSUER_CERT_LOCALLY']

/** Why there was no answer, and what to look at. */
function describeSilence({ url, trust }: ReachOptions, error: unknown): string {
  const { message, code } = error instanceof Error ? (error as NodeJS.ErrnoException) : { message: String(error), code: undefined }
  if (code !== undefined && FOREIGN.includes(code))
    return `${url} shows a certificate that ${trust} has not issued: it is another service, or ${trust} is not its root certificate. (${message})`
  if (code === 'ERR_TLS_CERT_ALTNAME_INVALID') return `${url} shows a certificate for other names, which the service has from GRIDSEAL_NAMES. (${message})`
  if (code === 'ECONNREFUSED') return `${url} does not answer: nothing listens there. Does the service run (gridseal serve), and is that its address (--url)?`
  if (code === 'EPROTO') return `${url} does not answer by TLS as the service does: is it the plain listener’s port? (${message.trim()})`
  return `${url} does not answer: ${message}`
}

function connectionOf({ url, trust, certificate, key, session }: ReachOptions): Connection {
  if ((certificate === undefined) !== (key === undefined)) throw new CliError('A certificate needs its key: --certificate chain.pem --key key.pem')
  if (!URL.canParse(url) || new URL(url).protocol !== 'https:')
    throw new CliError(`--url is the TLS listener of the service, such as https://127.0.0.1:8443, not ${url}`)
  return {
    url,
    trust: readRoot(trust),
    ...(certificate === undefined || key === undefined ? {} : readPair({ certificate, key })),
    ...(session === undefined ? {} : { session: readSessionFile(session).token }),
  }
}

/** Files (PEM) of a certificate, which others may follow, and of its private key. Throws a {@link CliError}, also where they do not belong together. */
export function readPair(files: { readonly certificate: string; readonly key: string }): { readonly certificate: string; readonly key: string } {
  const pair = { certificate: readText(files.certificate), key: readText(files.key) }
  const fault = pairFault(pair.certificate, pair.key)
  if (fault === 'mismatch') throw new CliError(`${files.key} is not the key of the certificate ${files.certificate}.`)
  if (fault !== undefined) throw new CliError(`${files[fault]} is no ${fault === 'key' ? 'private key' : 'certificate'} (PEM).`)
  return pair
}

function readRoot(file: string): string {
  const text = readText(file)
  if (certificateOf(text) === undefined) throw new CliError(`${file} is no certificate (PEM).`)
  return text
}

/** Of who calls by name: a certificate or a session is needed. */
export function assertReach({ certificate, session }: ReachOptions): void {
  if ((certificate === undefined) === (session === undefined))
    throw new CliError('Say who you are: --certificate chain.pem --key key.pem, or --session FILE, which gridseal login writes.')
}

/** Of a file that the command line names. Throws a {@link CliError}. */
export function readText(file: string): string {
  try {
    return readFileSync(file, 'utf8')
  } catch {
    throw new CliError(`${file} cannot be read.`)
  }
}
