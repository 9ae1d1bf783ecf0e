import { z } from 'zod'
import { Problem } from '../../../core/problem.ts'
import { digestRow } from '../../../core/row.ts'
import { operation } from '../../../policies/operation.ts'
import { type CertificateRecord, REVOCATION_REASONS, type RevocationReason } from '../certificate.ts'
import { certificateView, serialText, viewCertificate } from '../view.ts'
import type { CertificateDeps } from './deps.ts'
import { type CertificateTarget, certificateFacts, locateCertificate, noSuchCertificate } from './get-certificate.ts'

interface Target extends CertificateTarget {
  readonly reason: RevocationReason
}

/** Final. Asked again with the same reason it answers as the first time and changes nothing; with another reason it is a conflict. */
export const revokeCertificateOperation = ({
  certificates,
  cardFacts,
  sealer,
  now,
  onRevoked = () => undefined,
}: Pick<CertificateDeps, 'certificates' | 'cardFacts' | 'sealer' | 'now'> & {
  /** Called once a revocation is committed. */
  readonly onRevoked?: () => void
}) =>
  operation({
    name: 'kms.certificate.revoke',
    summary: 'Revokes a certificate, for good.',
    effect: 'durable',
    route: { method: 'POST', path: '/v1/kms/certificates/{serial}/revoke' },
    input: z.strictObject({ serial: serialText, reason: z.enum(REVOCATION_REASONS).meta({ description: 'RFC 5280 section 5.3.1' }) }),
    output: certificateView,
    locate: async ({ serial, reason }): Promise<Target> => ({ ...(await locateCertificate({ certificates, cardFacts }, serial)), reason }),
    uses: () => [],
    facts: (target) => ({ public: { ...certificateFacts(target).public, reason: target.reason } }),
    cards: ({ cards }) => cards,
    admit: ({ found, reason }) => {
      if (found === undefined) return noSuchCertificate()
      if (found.record.subjectKind === 'authority') return new Problem('conflict', 'The certificate of an authority is replaced by a ceremony, not revoked.')
      const before = found.record.revoked
      return before === undefined || before.reason === reason
        ? undefined
        : new Problem('conflict', `The certificate was revoked before, for the reason ${before.reason}, and a revocation does not change.`)
    },
    execute: async (_permit, { found, reason }): Promise<{ readonly record: CertificateRecord; readonly changed: boolean }> => {
      if (found === undefined) throw noSuchCertificate()
      await sealer.assertRows([found.sealed])
      const { record } = found
      if (record.revoked !== undefined) return { record, changed: false }
      return { changed: true, record: { ...record, version: record.version + 1, state: 'revoked', revoked: { at: now(), reason } } }
    },
    record: async (tx, _target, { record, changed }) => ({
      facts: { public: { changed }, rows: changed ? (await certificates.replaceCertificates(tx, [record])).map(digestRow) : [] },
    }),
    respond: (_target, { record, changed }) => {
      if (changed) onRevoked()
      return viewCertificate(record)
    },
  })
