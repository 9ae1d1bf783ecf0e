import type { X509Certificate } from 'node:crypto'
import type { TLSSocket } from 'node:tls'
import { Problem } from '../core/problem.ts'
import type { Caller } from '../policies/caller.ts'
import { ShortMemory } from './short-memory.ts'

/** Who calls, as far as registrations tell. */
export type Registered = Pick<Caller, 'kind' | 'name' | 'id' | 'person' | 'admittedUntil'>
/** What stands behind a client certificate now; undefined when it is unknown, revoked or expired, or its caller or their person is. */
export type FindCaller = (fingerprint: string) => Promise<Registered | undefined>

/** SHA-256 of the certificate that a connection showed, hex, whatever it is worth; undefined: none. */
export function shownCertificate(socket: TLSSocket): string | undefined {
  const certificate = socket.getPeerX509Certificate()
  return certificate && fingerprintOf(certificate)
}

const fingerprintOf = ({ fingerprint256 }: X509Certificate): string => fingerprint256.replaceAll(':', '').toLowerCase()

/**
 * Tells who is on a connection: from the registration of the certificate, never from what the certificate says.
 * The TLS listener has checked chain, dates and purpose (clientAuth); here the issuer is, and the registration is asked for, with every request.
 */
export class Identities {
  readonly #issuer: X509Certificate
  readonly #known: ShortMemory<Registered | undefined>
  readonly #fingerprints = new WeakMap<TLSSocket, string>()

  constructor({
    find,
    issuer,
    nowMs = () => performance.now(),
  }: { readonly find: FindCaller; readonly issuer: X509Certificate; readonly nowMs?: () => number }) {
    this.#issuer = issuer
    this.#known = new ShortMemory(find, nowMs)
  }

  /** Throws `unauthenticated`. */
  async callerOf(socket: TLSSocket): Promise<Caller> {
    const fingerprint = this.#fingerprintOf(socket)
    const caller = await this.#known.lookUp(fingerprint)
    if (caller === undefined) {
      this.#fingerprints.delete(socket)
      throw new Problem(
        'unauthenticated',
        'The client certificate is not registered here, or is revoked or expired. Ask an officer for a new one (kms.certificate.issue).',
      )
    }
    const address = socket.remoteAddress
    return { ...caller, certificate: fingerprint, listener: 'tls', strength: 'certificate', ...(address === undefined ? {} : { address }) }
  }

  #fingerprintOf(socket: TLSSocket): string {
    const known = this.#fingerprints.get(socket)
    if (known !== undefined) return known
    const certificate = socket.getPeerX509Certificate()
    if (certificate === undefined) throw new Problem('unauthenticated', 'Present a client certificate of the callers’ CA in the TLS handshake.')
    // The chain may end in the root, which stands above the cards' CA too: so the issuer is looked at.
    if (!socket.authorized || !certificate.checkIssued(this.#issuer) || !certificate.verify(this.#issuer.publicKey))
      throw new Problem('unauthenticated', 'The client certificate is not of the callers’ CA, or not valid now, or not for client authentication.')
    const fingerprint = fingerprintOf(certificate)
    this.#fingerprints.set(socket, fingerprint)
    return fingerprint
  }
}
