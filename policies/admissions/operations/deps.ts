import { z } from 'zod'
import { Problem } from '../../../core/problem.ts'
import type { Facts, FactValue } from '../../audit/log.ts'
import { type Caller, callerUrn, needsAdmission } from '../../caller.ts'
import type { CallerStore, Registration } from '../../callers/caller-store.ts'
import { CALLER_ID } from '../../callers/view.ts'
import { byAnotherOfficer } from '../../operation.ts'
import type { Admission, Assessment, Contact, Organisation } from '../admission.ts'
import type { AdmissionStore } from '../admission-store.ts'

export interface Deps {
  readonly admissions: AdmissionStore
  readonly callers: Pick<CallerStore, 'find'>
  readonly now: () => Date
  /** Cryptographically random bytes. */
  readonly random: (n: number) => Uint8Array
}

export const ROUTE = '/v1/policies/callers/{callerId}/admission'
export const ONE = z.strictObject({ callerId: CALLER_ID })

/**
 * What lets somebody in is looked at by two people. One officer alone can register and certify; if one alone could also admit, they could make a module of their own
 * and use it. What keeps somebody out takes one, at once.
 */
export const BY_ANOTHER_OFFICER = byAnotherOfficer(7 * 24)

/** What every operation on one admission begins with. */
export interface AdmissionTarget {
  readonly callerId: string
  readonly by: Caller
  readonly registration: Registration | undefined
  /** As it is now. */
  readonly admission: Admission | undefined
  readonly now: Date
}

export async function locateAdmission({ admissions, callers, now }: Deps, callerId: string, by: Caller): Promise<AdmissionTarget> {
  const [registration, admission] = await Promise.all([callers.find(callerId), admissions.find(callerId)])
  return { callerId, by, registration, admission, now: now() }
}

/** The matter as policies see it. `organisation`: for rules that are about one. */
export const matterOf = ({ callerId, registration, admission }: AdmissionTarget): Readonly<Record<string, FactValue>> => ({
  callerId,
  ...(registration === undefined ? {} : { subject: callerUrn(registration) }),
  ...(admission === undefined ? {} : { organisation: admission.organisation.name }),
})

/** Names, phone numbers and mail addresses are of persons. */
export const personalOf = (contacts: { readonly user?: Contact | undefined; readonly responsible?: Contact | undefined }): NonNullable<Facts['personal']> =>
  Object.fromEntries(
    (['user', 'responsible'] as const).flatMap((who) => {
      const contact = contacts[who]
      return contact === undefined
        ? []
        : [[`${who}Name`, contact.name] as const, [`${who}Phone`, contact.phone] as const, [`${who}Mail`, contact.mail] as const]
    }),
  )

export const organisationFacts = ({ name, licenceNumber }: Organisation, licenceSha256: string): Readonly<Record<string, FactValue>> => ({
  ...{ organisation: name, licenceNumber, licenceSha256 },
})

export const assessmentFacts = ({ reference, expiresAt }: Assessment, reportSha256: string): Readonly<Record<string, FactValue>> => ({
  ...{ assessment: reference, reportSha256, admittedUntil: expiresAt.toISOString() },
})

/** What is in the way of any change: there is no such caller, it is none that is admitted, or it is gone. */
export function obstacleToAny({ registration }: AdmissionTarget): Problem | undefined {
  if (registration === undefined) return new Problem('not-found', 'There is no caller of this id.')
  if (!needsAdmission(registration.kind))
    return new Problem('conflict', `Vendors and modules are admitted. A ${registration.kind} comes in as the person that they are.`)
  return registration.state === 'revoked' ? new Problem('conflict', 'The caller is revoked.') : undefined
}

export const noAdmission = (): Problem =>
  new Problem('not-found', 'No admission of this caller was ever filed. An officer files it: gridseal admission file, or POST to this address.')

/** What is in the way of a change of what was filed. */
export const obstacleToChange = (target: AdmissionTarget): Problem | undefined =>
  obstacleToAny(target) ?? (target.admission === undefined ? noAdmission() : undefined)

export const obstacleToAssessment = ({ expiresAt }: Assessment, now: Date): Problem | undefined =>
  expiresAt > now ? undefined : new Problem('conflict', 'The security assessment is over already: it would admit nobody.')
