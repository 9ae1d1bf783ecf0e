import type { X509Certificate } from 'node:crypto'
import type { TLSSocket } from 'node:tls'
import { Problem } from '../core/problem.ts'
import type { Caller } from '../policies/caller.ts'

/** What stands behind a client certificate now; undefined when it is unknown, revoked or expired, or its caller is. */
export type FindCaller = (fingerprint: string) => Promise<Pick<Caller, 'kind' | 'name' | 'id'> | undefined>

interface Known {
  readonly until: number
  readonly caller: Promise<Pick<Caller, 'kind' | 'name' | 'id'> | undefined>
}

/** How long an answer of {@link FindCaller} serves. A revocation is to work within 5 s, on open connections too. */
const FRESH_MS = 1000
/** Certificates remembered at most; beyond it the memory starts anew. */
const MOST_KNOWN = 50_000

/**
 * Tells who is on a connection: from the registration of the certificate, never from what the certificate says.
 * The TLS listener has checked chain, dates and purpose (clientAuth); here the issuer is, and the registration is asked for, with every request.
 */
export class Identities {
  readonly #find: FindCaller
  readonly #issuer: X509Certificate
  readonly #nowMs: () => number
  readonly #known = new Map<string, Known>()
  readonly #fingerprints = new WeakMap<TLSSocket, string>()

  constructor({
    find,
    issuer,
    nowMs = () => performance.now(),
  }: { readonly find: FindCaller; readonly issuer: X509Certificate; readonly nowMs?: () => number }) {
    this.#find = find
    this.#issuer = issuer
    this.#nowMs = nowMs
  }

  /** Throws `unauthenticated`. */
  async callerOf(socket: TLSSocket): Promise<Caller> {
    const fingerprint = this.#fingerprintOf(socket)
    const caller = await this.#lookUp(fingerprint)
    if (caller === undefined) {
      this.#fingerprints.delete(socket)
      throw new Problem(
        'unauthenticated',
        'The client certificate is not registered here, or is revoked or expired. Ask an officer for a new one (kms.certificate.issue).',
      )
    }
    const address = socket.remoteAddress
    return { ...caller, certificate: fingerprint, ...(address === undefined ? {} : { address }) }
  }

  #fingerprintOf(socket: TLSSocket): string {
    const known = this.#fingerprints.get(socket)
    if (known !== undefined) return known
    const certificate = socket.getPeerX509Certificate()
    if (certificate === undefined) throw new Problem('unauthenticated', 'Present a client certificate of the callers’ CA in the TLS handshake.')
    // The chain may end in the root, which stands above the cards' CA too: so the issuer is looked at.
    if (!socket.authorized || !certificate.checkIssued(this.#issuer) || !certificate.verify(this.#issuer.publicKey))
      throw new Problem('unauthenticated', 'The client certificate is not of the callers’ CA, or not valid now, or not for client authentication.')
    const fingerprint = certificate.fingerprint256.replaceAll(':', '').toLowerCase()
    this.#fingerprints.set(socket, fingerprint)
    return fingerprint
  }

  #lookUp(fingerprint: string): Known['caller'] {
    const now = this.#nowMs()
    const known = this.#known.get(fingerprint)
    if (known !== undefined && now < known.until) return known.caller
    if (this.#known.size >= MOST_KNOWN) this.#known.clear()
    const caller = this.#find(fingerprint)
    // A look-up that fails is not remembered: the next request asks again.
    caller.catch(() => this.#known.delete(fingerprint))
    this.#known.set(fingerprint, { until: now + FRESH_MS, caller })
    return caller
  }
}
