import { z } from 'zod'
import { fromBase64 } from '../../../core/bytes.ts'
import { isAddress, isHostName } from '../../../core/host-name.ts'
import { operation } from '../../../policies/operation.ts'
import { type LocatedIssuer, locateIssuer, obstacleToIssuing } from '../authorities.ts'
import { type PlannedCertificate, planCertificate } from '../issuing.ts'
import type { GeneralName } from '../names.ts'
import { AUTHORITIES, SERVICE_KEYS, SERVICE_PURPOSES, subjectOf } from '../profile.ts'
import { issuedView } from '../view.ts'
import type { CertificateDeps } from './deps.ts'
import { issuingSteps } from './issuing-steps.ts'

const INPUT = z.discriminatedUnion('purpose', [
  z.strictObject({
    purpose: z.literal('tls-server'),
    spki: z.string().max(512).transform(fromBase64).meta({ description: 'Public key of the listener, SPKI DER, base64' }),
    dnsNames: z.array(z.string().refine(isHostName, 'not a host name')).max(100),
    ipAddresses: z.array(z.string().refine(isAddress, 'not an IP address')).max(100),
  }),
  z.strictObject({ purpose: z.enum(SERVICE_PURPOSES) }),
])

interface Target {
  readonly issuer: LocatedIssuer | undefined
  readonly planned: PlannedCertificate | undefined
  readonly names: readonly GeneralName[]
  readonly purpose: z.infer<typeof INPUT>['purpose']
}

/** Certificates of the service's own keys, under the root: the TLS listener's (90 days), and those of the keys that sign deliveries and statements (5 years). */
export const issueServiceCertificateOperation = (deps: CertificateDeps) =>
  operation({
    name: 'kms.service-certificate.issue',
    summary: 'Issues a certificate for one of the keys of the service itself.',
    effect: 'durable',
    input: INPUT,
    output: issuedView,
    locate: async (input): Promise<Target> => {
      const { purpose } = input
      const issuer = await locateIssuer('root', deps)
      const names: GeneralName[] =
        input.purpose === 'tls-server'
          ? [...input.dnsNames.map((value) => ({ kind: 'dns', value }) as const), ...input.ipAddresses.map((value) => ({ kind: 'ip', value }) as const)]
          : [{ kind: 'uri', value: `urn:gridseal:service:${input.purpose}` }]
      if (issuer === undefined) return { issuer, planned: undefined, names, purpose }
      const planned = planCertificate({
        profile: purpose,
        issuer: issuer.issuer,
        organization: deps.organization,
        crlUrl: deps.crlUrl,
        subject: subjectOf.service(deps.organization, purpose),
        subjectKind: 'service',
        subjectId: purpose,
        spki: input.purpose === 'tls-server' ? input.spki : deps.hsm.rootPublicKey(SERVICE_KEYS[input.purpose]),
        names,
        now: deps.now(),
        random: deps.random(16),
      })
      return { issuer, planned, names, purpose }
    },
    uses: () => [{ action: 'sign', keyId: AUTHORITIES.root }],
    facts: ({ purpose, names, planned }) => ({
      public: {
        purpose,
        names: names.slice(0, 10).map(({ value }) => value),
        authority: 'root',
        ...(planned === undefined ? {} : { serial: planned.record.serial }),
      },
    }),
    admit: ({ issuer }) => obstacleToIssuing(issuer, deps.now()),
    ...issuingSteps<Target>(deps, 'root'),
  })
