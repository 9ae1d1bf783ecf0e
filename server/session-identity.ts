import type { IncomingMessage } from 'node:http'
import type { TLSSocket } from 'node:tls'
import { Problem } from '../core/problem.ts'
import type { Caller } from '../policies/caller.ts'
import type { OpenSession, PeopleFeature } from '../policies/people/index.ts'
import { shownCertificate } from './identity.ts'
import { assertSameOrigin, readCookie, SESSION_COOKIE } from './session-cookie.ts'
import { ShortMemory } from './short-memory.ts'

/** The token of a request's session, and whether a browser sent it by itself. */
interface Shown {
  readonly token: string
  readonly isCookie: boolean
}

const noSession = (): Problem =>
  new Problem('unauthenticated', 'The session has ended, or there never was one of this token. Log in again (policies.session.open).')

/** Tells who comes by a session: from what it was opened as, and only from where it was opened. */
export class SessionIdentities {
  readonly #known: ShortMemory<OpenSession | undefined>
  readonly #endStolen: PeopleFeature['endStolen']
  /** Ids of sessions that are being ended, so that a flood of requests ends one once. */
  readonly #ending = new Set<string>()

  constructor({ findSession, endStolen, nowMs }: Pick<PeopleFeature, 'findSession' | 'endStolen'> & { readonly nowMs?: () => number }) {
    this.#known = new ShortMemory(findSession, nowMs)
    this.#endStolen = endStolen
  }

  /** Undefined where the request shows no session. Throws `unauthenticated`, or `cross-site`. */
  async callerOf(request: IncomingMessage): Promise<Caller | undefined> {
    const shown = shownSession(request)
    if (shown === undefined) return undefined
    if (shown.isCookie) assertSameOrigin(request)
    const session = await this.#known.lookUp(shown.token)
    if (session === undefined) throw noSession()
    const socket = request.socket as TLSSocket
    const [address, certificate] = [socket.remoteAddress, shownCertificate(socket)]
    const differs = address !== session.address ? 'address' : certificate !== session.certificate ? 'certificate' : undefined
    if (address !== undefined && differs === undefined) {
      const { caller, sessionId } = session
      return { ...caller, address, listener: 'tls', strength: 'password+totp', session: sessionId, ...(certificate === undefined ? {} : { certificate }) }
    }
    // A connection that has closed meanwhile has no address: nothing is known of it.
    if (address !== undefined && differs !== undefined && !this.#ending.has(session.sessionId)) {
      this.#ending.add(session.sessionId)
      await this.#endStolen({ sessionId: session.sessionId, address, differs }).finally(() => {
        this.#known.forget(shown.token)
        this.#ending.delete(session.sessionId)
      })
    }
    throw new Problem('unauthenticated', 'The session is bound to where it was opened from, and has ended because it was used from elsewhere. Log in again.')
  }
}

/** Throws `unauthenticated` for a header or cookie that is none of ours, rather than fall back to another way in. */
function shownSession(request: IncomingMessage): Shown | undefined {
  const { authorization } = request.headers
  if (authorization !== undefined) {
    const [, token] = /^Bearer +([A-Za-z0-9_-]{43})$/i.exec(authorization) ?? []
    if (token === undefined) throw new Problem('unauthenticated', 'The authorization header is to be `Bearer` and the token of a session.')
    return { token, isCookie: false }
  }
  const token = readCookie(request, SESSION_COOKIE)
  return token === undefined ? undefined : { token, isCookie: true }
}
