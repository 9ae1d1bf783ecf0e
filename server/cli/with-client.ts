import { readFileSync } from 'node:fs'
import { ApiClient, ApiProblem, type Connection } from '../../clients/api.ts'
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
    throw new CliError(`${options.url} does not answer: ${error instanceof Error ? error.message : String(error)}`)
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

function connectionOf({ url, trust, certificate, key, session }: ReachOptions): Connection {
  if ((certificate === undefined) !== (key === undefined)) throw new CliError('A certificate needs its key: --certificate chain.pem --key key.pem')
  return {
    url,
    trust: readText(trust),
    ...(certificate === undefined ? {} : { certificate: readText(certificate) }),
    ...(key === undefined ? {} : { key: readText(key) }),
    ...(session === undefined ? {} : { session: readSessionFile(session).token }),
  }
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
