import type { TLSSocket } from 'node:tls'
import type { Context } from 'koa'
import { anonymousCaller, type Caller } from '../policies/caller.ts'
import type { Route } from '../policies/operation.ts'
import { type Identities, shownCertificate } from './identity.ts'
import type { SessionIdentities } from './session-identity.ts'

/**
 * Who a request is from: the session that it shows, else the client certificate of its connection. Where one is no good, the other is not tried. What is open to
 * anybody is done by nobody, and what people do for themselves by the person, whichever registration they come by. Throws `unauthenticated`, or `cross-site`.
 */
export const whoCalls =
  ({ identities, sessions }: { readonly identities: Pick<Identities, 'callerOf'>; readonly sessions: Pick<SessionIdentities, 'callerOf'> }) =>
  async ({ req }: Pick<Context, 'req'>, access: Route['access']): Promise<Caller> => {
    const socket = req.socket as TLSSocket
    if (access === 'anonymous') {
      const [address, certificate] = [socket.remoteAddress, shownCertificate(socket)]
      return anonymousCaller({ listener: 'tls', ...(address === undefined ? {} : { address }), ...(certificate === undefined ? {} : { certificate }) })
    }
    const caller = (await sessions.callerOf(req)) ?? (await identities.callerOf(socket))
    const { person } = caller
    return access === 'self' && person !== undefined ? { ...caller, kind: 'person', name: person.name, id: person.id } : caller
  }
