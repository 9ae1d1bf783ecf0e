import { Problem } from '../../core/problem.ts'
import type { RowSealer } from '../../core/row.ts'
import type { Hsm } from '../../pkcs11/index.ts'
import type { FoundCertificate } from './certificate.ts'
import type { CertificateStore } from './certificate-store.ts'
import { certificatePem, type Issuer, issuerOf } from './issuing.ts'
import type { AuthorityName } from './profile.ts'

/** An authority as a certificate is planned with it. Its row is checked when the certificate is signed. */
export interface LocatedIssuer {
  readonly found: FoundCertificate
  readonly issuer: Issuer
}

/** The authority's own certificate, if it is established. Throws `integrity-failed` when the certificate is not that of the key in the token. */
export async function locateIssuer(
  name: AuthorityName,
  { certificates, hsm }: { certificates: CertificateStore; hsm: Hsm },
): Promise<LocatedIssuer | undefined> {
  const found = await certificates.findCurrent('authority', name)
  return found === undefined ? undefined : { found, issuer: issuerOf(name, found.record, hsm) }
}

/** Why the authority cannot issue now. */
export function obstacleToIssuing(located: LocatedIssuer | undefined, now: Date): Problem | undefined {
  if (located === undefined) return new Problem('conflict', 'The certificate authorities are not established yet.')
  return located.issuer.notAfter <= now ? new Problem('conflict', 'The certificate of the issuing authority has ended.') : undefined
}

/** The authority's certificate and those above it up to the root, MACs checked; empty before it is established. */
export async function loadChain(
  name: AuthorityName,
  { certificates, sealer }: { certificates: CertificateStore; sealer: RowSealer },
): Promise<FoundCertificate[]> {
  const names: readonly AuthorityName[] = name === 'root' ? ['root'] : [name, 'root']
  const chain = await Promise.all(names.map((one) => certificates.findCurrent('authority', one)))
  const found = chain.filter((one) => one !== undefined)
  if (found.length < names.length) return []
  await sealer.assertRows(found.map(({ sealed }) => sealed))
  return found
}

export const chainPem = (chain: readonly FoundCertificate[]): string => chain.map(({ record }) => certificatePem(record.der ?? new Uint8Array())).join('')
