import { z } from 'zod'
import type { CardFacts } from '../../../core/card-facts.ts'
import { Problem } from '../../../core/problem.ts'
import { operation } from '../../../policies/operation.ts'
import type { FoundCertificate } from '../certificate.ts'
import { certificateView, serialText, viewCertificate } from '../view.ts'
import type { CertificateDeps } from './deps.ts'

export interface CertificateTarget {
  readonly serial: string
  /** Reserved ones count as absent: nobody has seen them. */
  readonly found: FoundCertificate | undefined
  /** The card whose certificate it is. */
  readonly cards: readonly CardFacts[]
}

export const getCertificateOperation = ({ certificates, sealer, cardFacts }: Pick<CertificateDeps, 'certificates' | 'sealer' | 'cardFacts'>) =>
  operation({
    name: 'kms.certificate.get',
    summary: 'Tells a certificate and whether it is revoked.',
    effect: 'transient',
    route: { method: 'GET', path: '/v1/kms/certificates/{serial}' },
    input: z.strictObject({ serial: serialText }),
    output: certificateView,
    locate: async ({ serial }): Promise<CertificateTarget> => locateCertificate({ certificates, cardFacts }, serial),
    uses: () => [],
    facts: certificateFacts,
    cards: ({ cards }: CertificateTarget) => cards,
    admit: ({ found }) => (found === undefined ? noSuchCertificate() : undefined),
    execute: async (_permit, { found }) => {
      if (found === undefined) throw noSuchCertificate()
      await sealer.assertRows([found.sealed])
      return found.record
    },
    respond: (_target, record) => viewCertificate(record),
  })

export async function locateCertificate(
  { certificates, cardFacts }: Pick<CertificateDeps, 'certificates' | 'cardFacts'>,
  serial: string,
): Promise<CertificateTarget> {
  const row = await certificates.findBySerial(serial)
  const found = row?.record.state === 'reserved' ? undefined : row
  return { serial, found, cards: found?.record.subjectKind === 'card' ? [await cardFacts(found.record.subjectId)] : [] }
}

/** What the policy and the log see of a certificate: of one that is not there, its serial alone. */
export const certificateFacts = ({ serial, found }: Pick<CertificateTarget, 'serial' | 'found'>) => ({
  public: {
    serial,
    ...(found === undefined
      ? {}
      : { authority: found.record.authority, subjectKind: found.record.subjectKind, subjectId: found.record.subjectId, state: found.record.state }),
  },
})

export const noSuchCertificate = (): Problem => new Problem('not-found', 'There is no certificate with this serial number.')
