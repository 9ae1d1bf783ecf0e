import { readFile } from 'node:fs/promises'
import { isIP, connect as connectTcp, type Socket } from 'node:net'
import { Duplex } from 'node:stream'
import { setTimeout as sleep } from 'node:timers/promises'
import { connect as connectTls, type TLSSocket } from 'node:tls'
import { hex, sha256 } from '../../../core/bytes.ts'
import type { Receiver } from './receiver.ts'

/** Why a receiver is not known to have read everything. Its message goes into the service's own log. */
export class ForwardingError extends Error {
  override readonly name = 'ForwardingError'
}

export interface ConnectionTimes {
  /** For connecting and the handshake. Default 10,000. */
  readonly openMs?: number
  /** How long nothing may be taken off. Default 30,000. */
  readonly stallMs?: number
  /** How long the receiver may take to end its side. Default 30,000. */
  readonly endMs?: number
}

/** What lets the next connection go without a full handshake: of the same files only. */
export interface Resumable {
  readonly files: string
  readonly session: Buffer
  readonly since: number
}
const RESUMABLE_MS = 3_600_000

/**
 * A connection to a receiver of syslog over TLS. Syslog has no acknowledgement: that everything was read is known once both sides have ended in order (RFC 5425 4.4).
 * We end with close_notify and FIN; a receiver that ends with its own close_notify and FIN after that, and no reset, has taken off all that we sent. One that was killed
 * sends a FIN alone, or a reset. One that ends by itself while we send is caught before our end: by a pause as long as two round trips.
 */
export class SyslogConnection {
  readonly #raw: Socket
  readonly #tls: TLSSocket
  readonly #times: Required<ConnectionTimes>
  readonly #roundTripMs: number
  readonly #broken: Promise<never>
  #break: (reason: ForwardingError) => void = () => undefined
  readonly #ended: Promise<void>
  #end: () => void = () => undefined
  #isEnding = false
  #notified = false
  #resumable: Resumable | undefined

  private constructor(raw: Socket, tls: TLSSocket, parts: { readonly times: Required<ConnectionTimes>; readonly roundTripMs: number; readonly files: string }) {
    this.#raw = raw
    this.#tls = tls
    this.#times = parts.times
    this.#roundTripMs = parts.roundTripMs
    this.#broken = new Promise<never>((_resolve, reject) => {
      this.#break = reject
    })
    this.#broken.catch(() => undefined)
    this.#ended = new Promise((resolve) => {
      this.#end = resolve
    })
    tls.on('session', (session) => {
      this.#resumable = { files: parts.files, session, since: performance.now() }
    })
    tls.on('error', (error) => this.#break(new ForwardingError(messageOf(error))))
    tls.on('end', () => {
      this.#notified = true
      if (!this.#isEnding) this.#break(new ForwardingError('the receiver ended the connection before everything was sent'))
    })
    raw.on('error', (error) => this.#break(new ForwardingError(messageOf(error))))
    // What came with the FIN is read first: it may be the close_notify.
    raw.on('end', () => setImmediate(() => setImmediate(() => (this.#notified ? this.#end() : this.#break(new ForwardingError(CUT))))))
    raw.on('close', () => setImmediate(() => setImmediate(() => setImmediate(() => this.#break(new ForwardingError(CUT))))))
    // Receivers say nothing; what they say all the same is passed over.
    tls.resume()
  }

  /** Throws a {@link ForwardingError}, also where the certificate is not by the receiver's CA, or not of its name. `known`: of a connection before; `signal`: cuts it, now and later. */
  static async open(
    receiver: Receiver,
    { openMs = 10_000, stallMs = 30_000, endMs = 30_000 }: ConnectionTimes = {},
    { known, signal }: { readonly known?: Resumable | undefined; readonly signal?: AbortSignal } = {},
  ): Promise<SyslogConnection> {
    const { ca, cert, key, files } = await readFiles(receiver)
    if (signal?.aborted === true) throw new ForwardingError(STOPS)
    const raw = connectTcp({ host: receiver.host, port: receiver.port, noDelay: true, keepAlive: true })
    const deadline = setTimeout(() => raw.destroy(new ForwardingError(`no connection within ${openMs / 1000} s`)), openMs)
    const cut = (): void => void raw.destroy(new ForwardingError(STOPS))
    signal?.addEventListener('abort', cut)
    raw.once('close', () => signal?.removeEventListener('abort', cut))
    try {
      const began = performance.now()
      await new Promise<void>((resolve, reject) => raw.once('connect', resolve).once('error', reject))
      const roundTripMs = performance.now() - began
      const isFresh = known?.files === files && performance.now() - known.since < RESUMABLE_MS
      const tls = connectTls({
        ...{ socket: heldBack(raw), ca, minVersion: 'TLSv1.2', host: receiver.serverName },
        ...(isIP(receiver.serverName) === 0 ? { servername: receiver.serverName } : {}),
        ...(cert === undefined ? {} : { cert, key }),
        ...(isFresh ? { session: known.session } : {}),
      })
      const connection = new SyslogConnection(raw, tls, { times: { openMs, stallMs, endMs }, roundTripMs, files })
      await Promise.race([new Promise((resolve) => tls.once('secureConnect', resolve)), connection.#broken])
      return connection
    } catch (error) {
      raw.destroy()
      throw error instanceof ForwardingError ? error : new ForwardingError(messageOf(error))
    } finally {
      clearTimeout(deadline)
    }
  }

  get resumable(): Resumable | undefined {
    return this.#resumable
  }

  /** Resolves when there is room for more: what waits here is bounded. Throws a {@link ForwardingError}. */
  async send(frames: Uint8Array): Promise<void> {
    if (this.#tls.write(frames)) return
    await this.#within(this.#times.stallMs, 'the receiver takes nothing off', new Promise((resolve) => this.#tls.once('drain', resolve)))
  }

  /** Resolves when the receiver has read everything. Throws a {@link ForwardingError} when nobody knows that. */
  async end(): Promise<void> {
    await this.#within(this.#times.stallMs, 'the receiver takes nothing off', new Promise((resolve) => this.#tls.write('', resolve)))
    await this.#within(this.#times.stallMs, '', sleep(Math.max(5, 2 * this.#roundTripMs)))
    this.#isEnding = true
    this.#tls.end()
    await this.#within(this.#times.endMs, 'the receiver does not end the connection: nobody knows what it has read', this.#ended)
  }

  destroy(): void {
    this.#tls.destroy()
    this.#raw.destroy()
  }

  async #within<Value>(ms: number, otherwise: string, work: Promise<Value>): Promise<Value> {
    const ending = new AbortController()
    const late = sleep(ms, undefined, { signal: ending.signal }).then(() => {
      throw new ForwardingError(`${otherwise}, for ${ms / 1000} s`)
    })
    late.catch(() => undefined)
    try {
      return await Promise.race([work, this.#broken, late])
    } finally {
      ending.abort()
    }
  }
}

const STOPS = 'the service stops'
const CUT = 'the connection was cut: nobody knows what the receiver has read'

/** The socket as TLS sees it: without its FIN, so that the end of the TLS session is the close_notify and nothing else. It outlives the session, whose end comes before its own. */
function heldBack(raw: Socket): Duplex {
  const stream = new Duplex({
    read: () => void raw.resume(),
    write: (chunk: Buffer, _encoding, done) => void raw.write(chunk, (error) => done(error ?? null)),
    final: (done) => void raw.end(() => done()),
  })
  raw.on('data', (chunk: Buffer) => {
    if (!stream.push(chunk)) raw.pause()
  })
  return stream
}

interface Files {
  readonly ca: Buffer
  readonly cert: Buffer | undefined
  readonly key: Buffer | undefined
  /** Changes with them. */
  readonly files: string
}

/** Throws a {@link ForwardingError} that names the file. */
export async function readFiles({ caFile, certificateFile, keyFile }: Receiver): Promise<Files> {
  const read = (path: string): Promise<Buffer> =>
    readFile(path).catch((error: NodeJS.ErrnoException) => {
      throw new ForwardingError(`${path} cannot be read (${error.code ?? 'unknown'})`)
    })
  const readSome = async (path: string | undefined): Promise<Buffer | undefined> => (path === undefined ? undefined : read(path))
  const [ca, cert, key] = await Promise.all([read(caFile), readSome(certificateFile), readSome(keyFile)])
  return { ca, cert, key, files: hex(sha256(ca, cert ?? new Uint8Array(), key ?? new Uint8Array())) }
}

const messageOf = (error: unknown): string => {
  const { code, message } = error as NodeJS.ErrnoException
  return code === undefined ? message : `${message} (${code})`
}
