import { z } from 'zod'
import { digestRow } from '../../../core/row.ts'
import { operation } from '../../../policies/operation.ts'
import { type LocatedIssuer, locateIssuer } from '../authorities.ts'
import { encodeName } from '../names.ts'
import { type PlannedCertificate, planCertificate, signPlanned } from '../issuing.ts'
import { AUTHORITIES, AUTHORITY_NAMES, type AuthorityName, CA_PROFILES, subjectOf } from '../profile.ts'
import { keyIdentifier } from '../splice.ts'
import { certificateView, viewCertificate } from '../view.ts'
import type { CertificateDeps } from './deps.ts'

interface Target {
  readonly existing: readonly LocatedIssuer[]
  readonly planned: readonly PlannedCertificate[]
}

/** Issues the certificates of the authorities that have none: all three at the first start, none later. All are signed by the root key. */
export const establishAuthoritiesOperation = (deps: CertificateDeps) =>
  operation({
    name: 'kms.authority.establish',
    summary: 'Issues the certificates of the root, the callers CA and the cards CA where they are missing.',
    effect: 'durable',
    input: z.strictObject({}),
    output: z.object({ authorities: z.array(certificateView) }),
    locate: async (): Promise<Target> => {
      const located = await Promise.all(AUTHORITY_NAMES.map(async (name) => ({ name, found: await locateIssuer(name, deps) })))
      const root = located.find(({ name }) => name === 'root')?.found
      return {
        existing: located.flatMap(({ found }) => (found === undefined ? [] : [found])),
        planned: located.flatMap(({ name, found }) => (found === undefined ? [planAuthority(deps, name, root)] : [])),
      }
    },
    uses: ({ planned }) => (planned.length === 0 ? [] : [{ action: 'sign', keyId: AUTHORITIES.root }]),
    facts: ({ planned }) => ({
      public: { authorities: planned.map(({ record }) => record.subjectId), serials: planned.map(({ record }) => record.serial) },
    }),
    reserve: async (tx, { planned }) => {
      const reserved = await deps.certificates.reserveCertificates(
        tx,
        planned.map(({ record }) => record),
      )
      return reserved.map(digestRow)
    },
    execute: async (permit, { existing, planned }) => {
      await deps.sealer.assertRows(existing.map(({ found }) => found.sealed))
      return planned.length === 0 ? [] : signPlanned(permit, deps.hsm, planned)
    },
    record: async (tx, _target, issued) => ({ facts: { rows: (await deps.certificates.replaceCertificates(tx, issued)).map(digestRow) } }),
    respond: ({ existing }, issued) => ({ authorities: [...existing.map(({ found }) => found.record), ...issued].map(viewCertificate) }),
  })

/** A CA below the root takes the root's names from its certificate, or those planned for it in the same operation. */
function planAuthority({ organization, crlUrl, hsm, now, random }: CertificateDeps, name: AuthorityName, root: LocatedIssuer | undefined): PlannedCertificate {
  const planned = { name: encodeName(subjectOf.authority(organization, 'root')), keyIdentifier: keyIdentifier(hsm.rootPublicKey(AUTHORITIES.root)) }
  return planCertificate({
    profile: CA_PROFILES[name],
    issuer: name === 'root' ? undefined : (root?.issuer ?? planned),
    organization,
    crlUrl,
    subject: subjectOf.authority(organization, name),
    subjectKind: 'authority',
    subjectId: name,
    spki: hsm.rootPublicKey(AUTHORITIES[name]),
    names: [],
    now: now(),
    random: random(16),
  })
}
