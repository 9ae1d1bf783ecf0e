import type { KeyId } from '../core/ids.ts'
import { equalBytes } from '../core/bytes.ts'
import { Problem } from '../core/problem.ts'
import type { RootKeyIdentity, TokenIdentity } from './root-keys.ts'

/** A root key as it was recorded, with the token it was in. */
export type RecordedRootKey = RootKeyIdentity & { readonly tokenSerial: string }

/**
 * What the database remembers of the token. Not trusted: who changes it can make the service refuse to start, and no more; that a token
 * fits the database is proved by every row MAC.
 */
export interface RootKeyStore {
  load(): Promise<RecordedRootKey[]>
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
  const refuse = (what: string): never => {
    throw new Problem(
      'hsm-unavailable',
      `${what} The service does not start: with this token it could not open or check what this database holds. Restore the token that belongs to it, or choose another database.`,
    )
  }
  const serials = [...new Set(recorded.map(({ tokenSerial }) => tokenSerial))]
  if (serials.length !== 1 || serials[0] !== identity.serial) {
    refuse(`This is token ${identity.serial}, and the database belongs to token ${serials.join(', ')}.`)
  }
  const names = new Map(recorded.map((key) => [key.keyId, key]))
  for (const key of identity.keys) {
    const before = names.get(key.keyId)
    if (before === undefined) refuse(`The root key ${key.keyId} was never recorded.`)
    else if (!isSame(before, key)) refuse(`The root key ${key.keyId} is another one than was recorded.`)
    names.delete(key.keyId)
  }
  const [gone] = names.keys() as Iterable<KeyId>
  if (gone !== undefined) refuse(`The root key ${gone} is not in the token any more.`)
}

function isSame(a: RootKeyIdentity, b: RootKeyIdentity): boolean {
  if (a.algorithm !== b.algorithm) return false
  if ('publicKey' in a) return 'publicKey' in b && equalBytes(a.publicKey, b.publicKey)
  return 'kcv' in b && a.kcv.method === b.kcv.method && equalBytes(a.kcv.value, b.kcv.value)
}
