import { type ChildProcess, spawn } from 'node:child_process'
import { closeSync, existsSync, openSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import pg from 'pg'
import { type Binaries, findBinaries } from './binaries.ts'
import { type Cluster, prepareCluster, ROLES, type RoleName, serverEnvironment } from './cluster.ts'
import { disownStalePid, isAlive, isMarkedAlive, processMark, serverPid } from './postmaster-file.ts'
import { type SocketFolder, socketFolder } from './socket.ts'

export interface EmbeddedSettings {
  /** Holds the cluster, the passwords (0600) and the server's messages. Made when it is not there. */
  readonly folder: string
  /** Whether a commit waits for the disk. Default true; false only for tests. */
  readonly durable?: boolean
  /** How long to wait for a server that says nothing. One that is recovering is waited for. Default 60 000. */
  readonly startTimeoutMs?: number
}

export interface EmbeddedPostgres {
  /** Of the server's main process; 0 while there is none. It changes when the server had to be started again. */
  readonly pid: number
  /** Whether this process found the server running and another living process answers for it. `stop` then leaves it alone. */
  readonly isGuest: boolean
  /** A connection string with the password in it. Default database: `gridseal`. */
  url(role: RoleName, database?: string): string
  /** Stops the server in an orderly way. Connections are cut. */
  stop(): Promise<void>
}

export const DATABASE = 'gridseal'

/**
 * Starts PostgreSQL on a Unix socket in `folder`, or attaches to the server that an earlier process left running there.
 * The first living process answers for the server: it starts it again when it dies, and stops it. Later ones are guests.
 * A kill -9 of this process leaves the server running for the next one; a kill -9 of the server costs its recovery and no commit.
 */
export async function startEmbeddedPostgres({ folder, durable = true, startTimeoutMs = 60_000 }: EmbeddedSettings): Promise<EmbeddedPostgres> {
  const binaries = await findBinaries()
  const place = resolve(folder)
  const cluster = prepareCluster(place, binaries, { durable })
  const server = new Server({ folder: place, cluster, binaries, durable, startTimeoutMs, socket: socketFolder(cluster.path) })
  try {
    await server.start()
    await server.prepareDatabase()
  } catch (error) {
    await server.stop()
    throw error
  }
  server.watch()
  return server
}

interface ServerParts {
  readonly folder: string
  readonly cluster: Cluster
  readonly binaries: Binaries
  readonly durable: boolean
  readonly startTimeoutMs: number
  readonly socket: SocketFolder
}

const RETRY_MS = 20
const WATCH_MS = 250
const STOP_TIMEOUT_MS = 20_000

class Server implements EmbeddedPostgres {
  readonly #parts: ServerParts
  readonly #marker: string
  #guest = false
  #stopping = false
  #watching: NodeJS.Timeout | undefined
  #restarting = false
  readonly #onExit = (): void => this.#signal('SIGINT')

  constructor(parts: ServerParts) {
    this.#parts = parts
    this.#marker = join(parts.folder, 'launched-by')
  }

  get pid(): number {
    return serverPid(this.#parts.cluster.path) ?? 0
  }

  get isGuest(): boolean {
    return this.#guest
  }

  url(role: RoleName, database = DATABASE): string {
    const { cluster, socket } = this.#parts
    return `postgresql://${ROLES[role]}:${cluster.passwords[role]}@localhost/${database}?host=${encodeURIComponent(socket.path)}`
  }

  /** Attaches, or starts the server and waits until it answers. Tries again while the remains of a dead server are still going away. */
  async start(): Promise<void> {
    const deadline = performance.now() + this.#parts.startTimeoutMs
    let child: ChildProcess | undefined
    for (;;) {
      const answer = await this.#knock()
      if (answer === 'ready') break
      if (answer === 'away' && (child === undefined || hasEnded(child))) {
        disownStalePid(this.#parts.cluster.path)
        child = this.#spawn()
      }
      // A server that is recovering says so, and is left to it.
      if (answer === 'away' && performance.now() > deadline) {
        this.#signal('SIGQUIT')
        throw new Error(`PostgreSQL did not start in ${this.#parts.startTimeoutMs} ms. Its last messages (${this.#logPath}):\n${this.#lastMessages()}`)
      }
      await sleep(child !== undefined && hasEnded(child) ? 10 * RETRY_MS : RETRY_MS)
    }
    this.#takeCharge()
  }

  async #knock(): Promise<'ready' | 'busy' | 'away'> {
    const client = new pg.Client({ connectionString: this.url('admin', 'postgres'), connectionTimeoutMillis: 5000 })
    client.on('error', () => undefined)
    try {
      await client.connect()
      return 'ready'
    } catch (error) {
      const code = (error as NodeJS.ErrnoException).code ?? ''
      if (code === '28P01') throw new Error(`The server in ${this.#parts.folder} does not take the password in admin.password.`, { cause: error })
      // 57P03: it is starting up or shutting down.
      return ['57P03', '57P01', '53300'].includes(code) ? 'busy' : 'away'
    } finally {
      await client.end().catch(() => undefined)
    }
  }

  #spawn(): ChildProcess {
    const { cluster, binaries, durable } = this.#parts
    const settings = {
      listen_addresses: '',
      // Relative to the cluster, so that no path is too long.
      unix_socket_directories: '.',
      unix_socket_permissions: '0700',
      fsync: durable ? 'on' : 'off',
      synchronous_commit: durable ? 'on' : 'off',
      full_page_writes: durable ? 'on' : 'off',
      max_connections: '100',
      max_wal_size: '2GB',
      timezone: 'UTC',
      log_timezone: 'UTC',
      // Messages name no row values: neither statements, nor parameters, nor the details of a violated constraint.
      log_error_verbosity: 'terse',
      log_min_error_statement: 'panic',
      log_parameter_max_length: '0',
    }
    const options = Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${value}`])
    const [program, ...args] = cluster.runAs.command(binaries.postgres, ['-D', cluster.path, ...options])
    const messages = this.#openLog()
    const child = spawn(program, args, {
      ...cluster.runAs.ids,
      cwd: '/',
      env: serverEnvironment(),
      // A Ctrl-C at the terminal is for the service, which then stops the server in order.
      detached: true,
      stdio: ['ignore', messages, messages],
    })
    closeSync(messages)
    child.on('error', () => undefined)
    child.unref()
    return child
  }

  get #logPath(): string {
    return join(this.#parts.folder, 'server.log')
  }

  #openLog(): number {
    if (existsSync(this.#logPath) && statSync(this.#logPath).size > 10_000_000) renameSync(this.#logPath, `${this.#logPath}.1`)
    return openSync(this.#logPath, 'a', 0o600)
  }

  #lastMessages(): string {
    return existsSync(this.#logPath) ? readFileSync(this.#logPath, 'utf8').trim().split('\n').slice(-10).join('\n') : '(none)'
  }

  /** Becomes the host of the server, unless another living process is. */
  #takeCharge(): void {
    this.#guest = this.#hasOtherHost()
    if (this.#guest) return
    writeFileSync(this.#marker, processMark(process.pid))
    process.removeListener('exit', this.#onExit)
    process.once('exit', this.#onExit)
  }

  #hasOtherHost(): boolean {
    const host = this.#host()
    return host !== processMark(process.pid) && isMarkedAlive(host)
  }

  #host(): string {
    return existsSync(this.#marker) ? readFileSync(this.#marker, 'utf8') : ''
  }

  /** Makes the roles and the database; does nothing where they are. */
  async prepareDatabase(): Promise<void> {
    const { passwords } = this.#parts.cluster
    const client = new pg.Client({ connectionString: this.url('admin', 'postgres') })
    client.on('error', () => undefined)
    await client.connect()
    try {
      await client.query(`SELECT pg_advisory_lock(hashtext('gridseal.prepare'))`)
      const found = await client.query('SELECT FROM pg_database WHERE datname = $1', [DATABASE])
      if (found.rowCount === 1) return
      const roles = await client.query<{ rolname: string }>('SELECT rolname FROM pg_roles')
      for (const role of ['owner', 'service'] as const) {
        const verb = roles.rows.some(({ rolname }) => rolname === ROLES[role]) ? 'ALTER' : 'CREATE'
        await client.query(`${verb} ROLE ${ROLES[role]} LOGIN PASSWORD ${client.escapeLiteral(passwords[role])}`)
      }
      // Last: its being there says that all is done.
      await client.query(`CREATE DATABASE ${DATABASE} OWNER ${ROLES.owner}`)
    } finally {
      await client.end()
    }
  }

  /** Starts the server again when it dies. A guest whose host is gone takes its place; of two that became hosts at once, one becomes a guest. */
  watch(): void {
    this.#watching = setInterval(() => {
      if (this.#stopping || this.#restarting) return
      this.#guest = this.#hasOtherHost()
      if (this.#guest || (this.#host() !== '' && serverPid(this.#parts.cluster.path) !== undefined)) return
      this.#restarting = true
      this.start()
        .catch(() => undefined)
        .finally(() => {
          this.#restarting = false
        })
    }, WATCH_MS).unref()
  }

  async stop(): Promise<void> {
    this.#stopping = true
    clearInterval(this.#watching)
    process.removeListener('exit', this.#onExit)
    const pid = serverPid(this.#parts.cluster.path)
    if (!this.#guest && pid !== undefined) {
      this.#signal('SIGINT')
      const deadline = performance.now() + STOP_TIMEOUT_MS
      while (isAlive(pid) && performance.now() < deadline) await sleep(RETRY_MS)
      if (isAlive(pid)) this.#signal('SIGQUIT')
      rmSync(this.#marker, { force: true })
    }
    this.#parts.socket.release()
  }

  #signal(signal: NodeJS.Signals): void {
    const pid = serverPid(this.#parts.cluster.path)
    if (this.#guest || pid === undefined) return
    try {
      process.kill(pid, signal)
    } catch {
      // It is gone already.
    }
  }
}

const hasEnded = (child: ChildProcess): boolean => child.pid === undefined || child.exitCode !== null || child.signalCode !== null
