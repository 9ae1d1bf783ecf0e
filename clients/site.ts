import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'
import { exampleFiling, fileAdmission } from './admission.ts'
import { ApiClient } from './api.ts'
import { makeTlsRequest } from './csr.ts'

/** Room for the short-lived objects of many requests (MB): a third fewer collections at 4,000 requests a second. `npm start` has it too. */
const YOUNG_SPACE = '--max-semi-space-size=64'

/** How long the last words of a service that ended are waited for. */
const LAST_WORDS_MS = 1_000

/** Environment variable that names a compiled `gridseal.js` to run. */
export const PROGRAM_VARIABLE = 'GRIDSEAL_PROGRAM'

/** How to run the program `gridseal`: the one that the environment names, else from `dist`, or from the sources where this file is a source. */
export function programArguments(): string[] {
  const named = process.env[PROGRAM_VARIABLE]
  const fromSource = named === undefined && import.meta.url.endsWith('.ts')
  const program = named ?? new URL(`../server/cli/gridseal.${fromSource ? 'ts' : 'js'}`, import.meta.url).pathname
  return fromSource ? ['--import', 'tsx', program] : [YOUNG_SPACE, '--enable-source-maps', program]
}

export interface SiteSettings {
  /** The data folder. */
  readonly data: string
  readonly env?: Readonly<Record<string, string>>
  /** Receives what the service says, line by line. */
  readonly onLog?: (line: string) => void
  /** How long a start may take. Default 120,000. */
  readonly startTimeoutMs?: number
}

/** A running service, as its own process. */
export interface Service {
  readonly process: ChildProcess
  readonly pid: number
  /** `https://127.0.0.1:port`; `http://127.0.0.1:port` */
  readonly url: string
  readonly plainUrl: string
  /** Asks it to stop, and waits until it has. Answers the exit code. */
  stop(): Promise<number | null>
  /** kill -9, and waits. */
  kill(): Promise<void>
}

/** The settings of a service on free loopback ports, in its environment. */
const environment = ({ data, env }: SiteSettings): NodeJS.ProcessEnv => ({
  ...process.env,
  GRIDSEAL_DATA: data,
  GRIDSEAL_TLS_PORT: '0',
  GRIDSEAL_PLAIN_PORT: '0',
  ...env,
})

/** Starts `gridseal serve` and waits until it is ready. Throws with what it said last when it ends before. */
export function startService(settings: SiteSettings): Promise<Service> {
  const { onLog, startTimeoutMs = 120_000 } = settings
  const child = spawn(process.execPath, [...programArguments(), 'serve'], {
    env: environment(settings),
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  const ended = new Promise<number | null>((resolve) => void child.once('exit', resolve))
  const closed = once(child, 'close').catch(() => undefined)
  const last: string[] = []
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => {
      child.kill('SIGKILL')
      reject(new Error(`the service was not ready within ${String(startTimeoutMs / 1000)} s:\n${last.join('\n')}`))
    }, startTimeoutMs)
    const told = (line: string): void => {
      onLog?.(line)
      last.push(line)
      if (last.length > 40) last.shift()
      const ready = readyLine(line)
      if (ready === undefined) return
      clearTimeout(timer)
      resolve({
        process: child,
        pid: child.pid ?? 0,
        ...ready,
        stop: () => {
          child.kill('SIGTERM')
          return ended
        },
        kill: async () => {
          child.kill('SIGKILL')
          await ended
        },
      })
    }
    createInterface({ input: child.stdout }).on('line', told)
    createInterface({ input: child.stderr }).on('line', told)
    child.once('error', reject)
    void ended.then(async (code) => {
      clearTimeout(timer)
      // Its last words come after it; another process may hold the pipe for longer.
      await Promise.race([closed, sleep(LAST_WORDS_MS)])
      reject(new Error(`the service ended with ${String(code)}:\n${last.join('\n')}`))
    })
  })
}

function readyLine(line: string): { url: string; plainUrl: string } | undefined {
  if (!line.includes('"msg":"ready"')) return undefined
  const { tls, plain } = JSON.parse(line) as { tls: string; plain: string }
  return { url: tls, plainUrl: plain }
}

/** Somebody who calls: their certificate, and a client that uses it. */
export interface Participant {
  readonly name: string
  readonly callerId: string
  /** PEM. */
  readonly certificate: string
  readonly key: string
  readonly client: ApiClient
}

/** The first two officers, enrolled by `gridseal init`, and the root that everybody is to trust (PEM). */
export async function enrolFirstOfficers(
  service: Service,
  settings: SiteSettings,
  folder: string,
  names: readonly [string, string],
): Promise<{ officers: Participant[]; trust: string }> {
  mkdirSync(folder, { recursive: true, mode: 0o700 })
  const requests = await Promise.all(names.map(async (name) => ({ name, ...(await makeTlsRequest(name)) })))
  const options = requests.flatMap(({ name, csr }) => {
    writeFileSync(join(folder, `${name}.csr.pem`), csr)
    return ['--officer', `${name}=${join(folder, `${name}.csr.pem`)}`]
  })
  await promisify(execFile)(process.execPath, [...programArguments(), 'init', ...options, '--out', folder], { env: environment(settings) })
  const trust = readFileSync(join(folder, 'root.pem'), 'utf8')
  const officers = requests.map(({ name, privateKey: key }) => {
    const certificate = readFileSync(join(folder, `${name}.pem`), 'utf8')
    writeFileSync(join(folder, `${name}.key.pem`), key, { mode: 0o600 })
    const client = new ApiClient({ url: service.url, trust, certificate, key })
    return { name, callerId: readFileSync(join(folder, `${name}.id`), 'utf8').trim(), certificate, key, client }
  })
  return { officers, trust }
}

interface Place {
  readonly url: string
  readonly trust: string
}

/** Registers a caller and gives it a certificate, as an officer does. A vendor or module can do nothing yet: see {@link enrol}. */
export async function register(
  officer: Participant,
  { url, trust }: Place,
  { kind, name }: { readonly kind: 'vendor' | 'module' | 'officer' | 'auditor' | 'business'; readonly name: string },
): Promise<Participant> {
  const { privateKey: key, csr } = await makeTlsRequest(name)
  const { callerId } = await officer.client.post<{ callerId: string }>('/v1/policies/callers', { kind, name })
  const { certificate } = await officer.client.post<{ certificate: string }>('/v1/kms/certificates', { callerId, csr })
  return { name, callerId, certificate, key, client: new ApiClient({ url, trust, certificate, key }) }
}

/** Who is enrolled. A vendor or module is filed too, which another officer approves. */
export type Enrolment =
  | { readonly kind: 'officer' | 'auditor' | 'business'; readonly name: string }
  | { readonly kind: 'vendor' | 'module'; readonly name: string; readonly approver: Participant }

/** Registers a caller, gives it a certificate, and has it admitted where it needs that. */
export async function enrol(officer: Participant, place: Place, enrolment: Enrolment): Promise<Participant> {
  const participant = await register(officer, place, enrolment)
  if ('approver' in enrolment) await fileAdmission([officer, enrolment.approver], participant.callerId, exampleFiling(enrolment.name))
  return participant
}
