import { z } from 'zod'
import { Problem } from '../../../core/problem.ts'
import { operation } from '../../../policies/operation.ts'
import type { FoundCertificate } from '../certificate.ts'
import { certificateView, serialText, viewCertificate } from '../view.ts'
import type { CertificateDeps } from './deps.ts'

export interface CertificateTarget {
  readonly serial: string
  /** Reserved ones count as absent: nobody has seen them. */
  readonly found: FoundCertificate | undefined
}

export const getCertificateOperation = ({ certificates, sealer }: Pick<CertificateDeps, 'certificates' | 'sealer'>) =>
  operation({
    name: 'kms.certificate.get',
    summary: 'Tells a certificate and whether it is revoked.',
    effect: 'transient',
    route: { method: 'GET', path: '/v1/kms/certificates/{serial}' },
    input: z.strictObject({ serial: serialText }),
    output: certificateView,
    locate: async ({ serial }): Promise<CertificateTarget> => locateCertificate(certificates, serial),
    uses: () => [],
    facts: certificateFacts,
    admit: ({ found }) => (found === undefined ? noSuchCertificate() : undefined),
    execute: async (_permit, { found }) => {
      if (found === undefined) throw noSuchCertificate()
      await sealer.assertRows([found.sealed])
      return found.record
    },
    respond: (_target, record) => viewCertificate(record),
  })

export async function locateCertificate(certificates: CertificateDeps['certificates'], serial: string): Promise<CertificateTarget> {
  const found = await certificates.findBySerial(serial)
  return { serial, found: found?.record.state === 'reserved' ? undefined : found }
}

/** What the policy and the log see of a certificate: of one that is not there, its serial alone. */
export const certificateFacts = ({ serial, found }: CertificateTarget) => ({
  public: {
    serial,
    ...(found === undefined
      ? {}
      : { authority: found.record.authority, subjectKind: found.record.subjectKind, subjectId: found.record.subjectId, state: found.record.state }),
  },
})

export const noSuchCertificate = (): Problem => new Problem('not-found', 'There is no certificate with this serial number.')
