import { createPublicKey, generateKeyPairSync, type KeyObject } from 'node:crypto'
import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net'
import { join } from 'node:path'
import { Duplex } from 'node:stream'
import { TLSSocket, createSecureContext } from 'node:tls'
import { makeCertificate } from '../../../../card-personalization/testing/certificates.ts'

/** PEM files of a CA, of a receiver that it certified, and of a sender. */
export interface Pki {
  readonly ca: string
  readonly certificate: string
  readonly key: string
}

/** The name that receivers of tests have. */
export const RECEIVER_NAME = 'siem.test'

const spki = (key: KeyObject): Uint8Array => createPublicKey(key.export({ format: 'pem', type: 'pkcs8' }).toString()).export({ format: 'der', type: 'spki' })

/** Writes `PREFIX.ca.pem`, `PREFIX.pem` and `PREFIX.key.pem` into the folder. */
export function makePki(folder: string, prefix: string, { name = RECEIVER_NAME }: { readonly name?: string } = {}): Pki {
  const [authority, own] = [generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey, generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey]
  const ca = makeCertificate({ subject: [['CN', `${prefix} CA`]], publicKey: spki(authority), signer: authority, ca: true, keyUsage: 0x06 })
  const leaf = makeCertificate({ subject: [['CN', name]], issuer: ca.certificate, publicKey: spki(own), signer: authority, keyUsage: 0x80 })
  const files = { ca: join(folder, `${prefix}.ca.pem`), certificate: join(folder, `${prefix}.pem`), key: join(folder, `${prefix}.key.pem`) }
  writeFileSync(files.ca, ca.pem)
  writeFileSync(files.certificate, leaf.pem)
  writeFileSync(files.key, own.export({ format: 'pem', type: 'pkcs8' }))
  return files
}

/**
 * `well`: reads all, and ends when the sender does. `never-reads`: takes nothing off after the handshake. `ends-early`: ends in order after some messages.
 * `resets`: resets after some messages. `killed`: reads all, then its FIN comes without a close_notify, as of a process that was killed. `never-ends`: reads all and stays.
 */
export type Manner = 'well' | 'never-reads' | 'ends-early' | 'resets' | 'killed' | 'never-ends'

/** A receiver of syslog over TLS, in the manner that it is told. */
export class SyslogReceiver {
  manner: Manner = 'well'
  /** Messages of connections so far, in their order: all that came. */
  readonly messages: string[] = []
  connections = 0
  /** Handshakes that went on with a session from before. */
  resumed = 0
  readonly #server: Server
  readonly #sockets = new Set<Socket>()

  private constructor({ certificate, key, clientCa }: { readonly certificate: string; readonly key: string; readonly clientCa?: string }) {
    const context = createSecureContext({ cert: certificate, key, minVersion: 'TLSv1.2', ...(clientCa === undefined ? {} : { ca: clientCa }) })
    this.#server = createServer({ allowHalfOpen: true }, (raw) => this.#serve(raw, context, clientCa !== undefined))
  }

  static async listen(parts: { readonly certificate: string; readonly key: string; readonly clientCa?: string }, port = 0): Promise<SyslogReceiver> {
    const receiver = new SyslogReceiver(parts)
    receiver.#server.listen(port, '127.0.0.1')
    await once(receiver.#server, 'listening')
    return receiver
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port
  }

  async close(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy()
    this.#server.close()
    await once(this.#server, 'close')
  }

  #serve(raw: Socket, context: ReturnType<typeof createSecureContext>, wantsCertificate: boolean): void {
    this.connections += 1
    this.#sockets.add(raw)
    let isMute = false
    // TLS over a stream of ours, so that a FIN can go without a close_notify.
    const stream = new Duplex({
      read: () => (isMute ? undefined : void raw.resume()),
      write: (chunk: Buffer, _encoding, done) => (isMute ? done() : void raw.write(chunk, () => done())),
      final: (done) => (isMute ? done() : void raw.end(() => done())),
    })
    raw.on('data', (chunk) => (stream.push(chunk) ? undefined : raw.pause()))
    raw.on('end', () => stream.push(null))
    raw.on('error', () => stream.destroy())
    raw.on('close', () => this.#sockets.delete(raw))
    const tls = new TLSSocket(stream, { isServer: true, secureContext: context, requestCert: wantsCertificate, rejectUnauthorized: wantsCertificate })
    const hush = (last: () => void): void => {
      isMute = true
      last()
    }
    let rest: Buffer = Buffer.alloc(0)
    let [read, isNew] = [0, true]
    tls.on('error', () => raw.destroy())
    tls.on('data', (chunk: Buffer) => {
      if (isNew && tls.isSessionReused()) this.resumed += 1
      isNew = false
      if (this.manner === 'never-reads') {
        raw.pause()
        return hush(() => tls.pause())
      }
      rest = Buffer.concat([rest, chunk])
      for (;;) {
        const head = /^([1-9]\d*) /.exec(rest.subarray(0, 12).toString('latin1'))
        const [start, length] = [head?.[0].length ?? 0, Number(head?.[1] ?? 0)]
        if (head === null || rest.length < start + length) break
        this.messages.push(rest.subarray(start, start + length).toString('utf8'))
        rest = rest.subarray(start + length)
        read += 1
        if (read < 5) continue
        if (this.manner === 'ends-early') return void tls.end()
        if (this.manner === 'resets') return hush(() => raw.resetAndDestroy())
      }
    })
    tls.on('end', () => {
      if (this.manner === 'killed') hush(() => raw.end())
      else if (this.manner === 'never-ends') isMute = true
      else tls.end()
    })
  }
}
