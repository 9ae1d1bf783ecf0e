import { PollLoop } from '../core/poll-loop.ts'
import type { TlsIdentity } from './tls-identity.ts'

const EVERY_MS = 24 * 3_600_000
const AGAIN_MS = 3_600_000

/**
 * Looks each day whether the listener's certificate is to be renewed: a service that runs for months would show one that has ended. Connections that come then are
 * shown the new one; open ones stay. What fails is tried again after an hour, of the 30 days that are left.
 */
export function tlsRenewal({
  current,
  load,
  use,
  onFailure,
  everyMs = EVERY_MS,
  againMs = AGAIN_MS,
}: {
  readonly current: TlsIdentity
  /** The one that is to be shown now, issued where there is need. */
  readonly load: () => Promise<TlsIdentity>
  readonly use: (identity: TlsIdentity) => void
  /** It must not throw. */
  readonly onFailure: (error: unknown) => void
  readonly everyMs?: number
  readonly againMs?: number
}): PollLoop {
  let shown = current.cert
  return new PollLoop(async () => {
    try {
      const identity = await load()
      if (identity.cert !== shown) use(identity)
      shown = identity.cert
      return everyMs
    } catch (error) {
      onFailure(error)
      return againMs
    }
  })
}
