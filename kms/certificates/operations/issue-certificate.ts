import { z } from 'zod'
import { base64url, sha256 } from '../../../core/bytes.ts'
import { UUID_PATTERN } from '../../../core/ids.ts'
import { Problem } from '../../../core/problem.ts'
import { callerUrn } from '../../../policies/caller.ts'
import { operation } from '../../../policies/operation.ts'
import { type LocatedIssuer, locateIssuer, obstacleToIssuing } from '../authorities.ts'
import { CSR_CHARACTERS, type Csr, type CsrFault, parseCsr } from '../csr.ts'
import { type PlannedCertificate, planCertificate } from '../issuing.ts'
import { AUTHORITIES, PROFILES, subjectOf } from '../profile.ts'
import { issuedView } from '../view.ts'
import type { CertificateDeps, Registration } from './deps.ts'
import { issuingSteps } from './issuing-steps.ts'

interface Target {
  readonly callerId: string
  readonly subject: Registration | undefined
  readonly csr: Csr | CsrFault
  readonly issuer: LocatedIssuer | undefined
  /** Absent when something above is not as it must be. */
  readonly planned?: PlannedCertificate
}

/** Only the public key comes from the CSR; name and kind come from the registration. */
export const issueCertificateOperation = (deps: CertificateDeps) =>
  operation({
    name: 'kms.certificate.issue',
    summary: 'Issues a client certificate to a registered caller.',
    effect: 'durable',
    route: { method: 'POST', path: '/v1/kms/certificates', status: 201 },
    input: z.strictObject({
      callerId: z
        .string()
        .regex(UUID_PATTERN, 'not the id of a registration')
        .meta({ description: 'Id of the registration of the caller that the certificate is for' }),
      csr: z.string().min(1).max(CSR_CHARACTERS).meta({ description: 'PKCS#10 request, PEM. P-256 or P-384. Of its content only the public key is used.' }),
      validityDays: z.int().min(1).max(PROFILES.client.days).default(365),
    }),
    output: issuedView,
    locate: async ({ callerId, csr, validityDays }): Promise<Target> => {
      const [subject, request, issuer] = await Promise.all([deps.callers.find(callerId), parseCsr(csr), locateIssuer('callers', deps)])
      const located = { callerId, subject, csr: request, issuer }
      if (subject === undefined || request.kind === 'fault' || issuer === undefined) return located
      const planned = planCertificate({
        profile: 'client',
        issuer: issuer.issuer,
        organization: deps.organization,
        crlUrl: deps.crlUrl,
        subject: subjectOf.client(deps.organization, subject),
        subjectKind: 'caller',
        subjectId: callerId,
        spki: request.spki,
        names: [{ kind: 'uri', value: callerUrn(subject) }],
        now: deps.now(),
        days: validityDays,
        random: deps.random(16),
      })
      return { ...located, planned }
    },
    uses: () => [{ action: 'sign', keyId: AUTHORITIES.callers }],
    facts: ({ callerId, subject, csr, planned }) => ({
      public: {
        subjectId: callerId,
        authority: 'callers',
        ...(subject === undefined ? {} : { subjectKind: subject.kind }),
        ...(csr.kind === 'fault' ? {} : { publicKeySha256: base64url(sha256(csr.spki)) }),
        ...(planned === undefined ? {} : { serial: planned.record.serial, notAfter: planned.record.notAfter.toISOString() }),
      },
    }),
    admit: ({ subject, csr, issuer }) => {
      if (subject === undefined) return new Problem('not-found', 'There is no registration with this id.')
      if (subject.state !== 'active') return new Problem('conflict', 'The registration of this caller is revoked.')
      if (csr.kind === 'fault') return new Problem('request-invalid', csr.message, { faults: [{ pointer: '/csr', message: csr.message }] })
      return obstacleToIssuing(issuer, deps.now())
    },
    ...issuingSteps<Target>(deps, 'callers'),
  })
