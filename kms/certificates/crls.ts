import { equalBytes } from '../../core/bytes.ts'
import { Problem } from '../../core/problem.ts'
import { assertIssuedCrl, type IssuedCrl, OVERLAP_MS } from './crl.ts'
import type { CrlDeps } from './operations/issue-crl.ts'
import type { AuthorityName } from './profile.ts'

/** A CRL as it is served. */
export interface ServedCrl extends IssuedCrl {
  readonly der: Uint8Array
}

/** Reads of CRLs, for who serves them and for the job. */
export interface Crls {
  /** The authority's CRL; undefined before there is one. Row MAC and digest are checked, a list once: the last is kept. Throws `integrity-failed`, also on a list older than one seen. */
  find(authority: AuthorityName): Promise<ServedCrl | undefined>
  /** Whether it needs a new one. Decides nothing else, so that the row's MAC is not checked: issuing does that. */
  isDue(authority: AuthorityName): Promise<boolean>
}

/** A list that is older is replaced, revocations or not. */
const FRESH_MS = 24 * 3_600_000

export function crlReader({
  crls,
  certificates,
  sealer,
  now,
  crlNumberFloor,
}: Pick<CrlDeps, 'crls' | 'certificates' | 'sealer' | 'now' | 'crlNumberFloor'>): Crls {
  const kept = new Map<AuthorityName, { readonly version: number; readonly mac: Uint8Array; readonly served: ServedCrl }>()
  return {
    find: async (authority) => {
      const found = await crls.find(authority)
      const issued = found?.record.issued
      if (found === undefined || issued === undefined) return undefined
      const last = kept.get(authority)
      if (last?.version === found.record.version && equalBytes(last.mac, found.sealed.mac)) return last.served
      await sealer.assertRows([found.sealed])
      if (last !== undefined && last.served.number > issued.number) {
        throw new Problem('integrity-failed', `The stored CRL of the ${authority} CA is older than one that was served before.`)
      }
      const isSame = last !== undefined && equalBytes(last.served.digest, issued.digest)
      const der = isSame ? last.served.der : await crls.readDer(authority, found.record.version)
      // A list was begun since the row was read: the last one is as good as the row.
      if (der === undefined) return last?.served
      assertIssuedCrl(der, { authority, digest: issued.digest })
      const served = { ...issued, der }
      kept.set(authority, { version: found.record.version, mac: found.sealed.mac, served })
      return served
    },
    isDue: async (authority) => {
      const issued = (await crls.find(authority))?.record.issued
      if (issued === undefined || issued.number <= crlNumberFloor || now().getTime() - issued.thisUpdate.getTime() >= FRESH_MS) return true
      return (await certificates.countRevoked(authority, new Date(issued.thisUpdate.getTime() - OVERLAP_MS))) !== issued.recent
    },
  }
}
