import { digestRow, type RowDigest } from '../../../core/row.ts'
import type { Tx } from '../../../core/tx.ts'
import type { Recorded } from '../../../policies/operation.ts'
import type { Permit } from '../../../policies/permit.ts'
import { chainPem, type LocatedIssuer, loadChain } from '../authorities.ts'
import type { CertificateRecord, FoundCertificate } from '../certificate.ts'
import { type PlannedCertificate, signPlanned } from '../issuing.ts'
import type { AuthorityName } from '../profile.ts'
import { viewCertificate } from '../view.ts'
import type { CertificateDeps } from './deps.ts'

/** What issuing one certificate needs; both are there once it was admitted. */
interface IssuingTarget {
  readonly planned?: PlannedCertificate | undefined
  readonly issuer?: LocatedIssuer | undefined
}
interface Result {
  readonly issued: CertificateRecord
  readonly chain: readonly FoundCertificate[]
}

/** The steps that issuing one certificate has, whoever it is for: serial and TBS digest recorded, the issuer's row checked, signed, recorded, answered with its chain. */
export const issuingSteps = <Target extends IssuingTarget>(deps: CertificateDeps, authority: AuthorityName) => ({
  reserve: async (tx: Tx, target: Target): Promise<readonly RowDigest[]> =>
    (await deps.certificates.reserveCertificates(tx, [admitted(target).planned.record])).map(digestRow),
  execute: async (permit: Permit, target: Target): Promise<Result> => {
    const { planned, issuer } = admitted(target)
    await deps.sealer.assertRows([issuer.found.sealed])
    const chain = await loadChain(authority, deps)
    const [issued] = await signPlanned(permit, deps.hsm, [planned])
    if (issued === undefined) throw new Error('a certificate was planned and none was signed')
    return { issued, chain }
  },
  record: async (tx: Tx, _target: Target, { issued }: Result): Promise<Recorded> => ({
    facts: { public: { fingerprint: issued.fingerprint ?? '' }, rows: (await deps.certificates.replaceCertificates(tx, [issued])).map(digestRow) },
  }),
  respond: (_target: Target, { issued, chain }: Result) => ({ ...viewCertificate(issued), chain: chainPem(chain) }),
})

function admitted({ planned, issuer }: IssuingTarget): { readonly planned: PlannedCertificate; readonly issuer: LocatedIssuer } {
  if (planned === undefined || issuer === undefined) throw new Error('the operation was admitted without its target')
  return { planned, issuer }
}
