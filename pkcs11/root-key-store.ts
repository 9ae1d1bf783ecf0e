import { Problem } from '../core/problem.ts'
import { identityFault, type KnownIdentity, type RootKeyIdentity, type TokenIdentity } from './root-keys.ts'

/** A root key as it was recorded, with the token it was in. */
export type RecordedRootKey = RootKeyIdentity & { readonly tokenSerial: string }

/**
 * What the database remembers of the token. Not trusted: who changes it can make the service refuse to start, and no more; that a token
 * fits the database is proved by every row MAC.
 */
export interface RootKeyStore {
  /** What was recorded, as adoptions and rotations since then have left it. */
  load(): Promise<RecordedRootKey[]>
  /** What rotations are about: keys that come, go, or are gone. */
  changing(): Promise<Required<Pick<KnownIdentity, 'leaving' | 'coming' | 'retired'>>>
  /** Keys that are recorded already are left as they are: of two nodes that start first, one wins. */
  record(identity: TokenIdentity): Promise<void>
}

/**
 * Records the root keys at the first start, and from then on compares. Throws `hsm-unavailable`, saying what differs, on another token, an old one,
 * a clone in another token, or a root key that was replaced; the service does not start then.
 */
export async function assertSameToken(store: RootKeyStore, identity: TokenIdentity): Promise<void> {
  if ((await store.load()).length === 0) await store.record(identity)
  const recorded = await store.load()
  const [serial, ...others] = new Set(recorded.map(({ tokenSerial }) => tokenSerial))
  const fault =
    serial === undefined || others.length > 0
      ? 'The database names root keys of more than one token.'
      : identityFault({ serial, keys: recorded, ...(await store.changing()) }, identity)
  if (fault === undefined) return
  throw new Problem(
    'hsm-unavailable',
    `${fault} The service does not start: with this token it could not open or check what this database holds. Restore the token that belongs to it, or choose another database. A token that was restored from a backup is adopted first: gridseal token adopt.`,
  )
}
