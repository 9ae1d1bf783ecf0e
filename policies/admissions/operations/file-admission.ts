import { z } from 'zod'
import { found } from '../../../core/found.ts'
import { Problem } from '../../../core/problem.ts'
import { digestRow } from '../../../core/row.ts'
import { callerUrn } from '../../caller.ts'
import { type Operation, operation } from '../../operation.ts'
import { type Admission } from '../admission.ts'
import { ADMISSION, type AdmissionView, ASSESSMENT, assessmentOf, CONTACT, ORGANISATION, organisationOf, viewAdmission } from '../view.ts'
import {
  type AdmissionTarget,
  assessmentFacts,
  BY_ANOTHER_OFFICER,
  type Deps,
  locateAdmission,
  matterOf,
  obstacleToAny,
  obstacleToAssessment,
  ONE,
  organisationFacts,
  personalOf,
  ROUTE,
} from './deps.ts'

const INPUT = ONE.extend({ organisation: ORGANISATION, user: CONTACT, responsible: CONTACT, assessment: ASSESSMENT })
type Input = z.infer<typeof INPUT>
interface Target extends AdmissionTarget {
  readonly asked: Input
}

/** The first version of an admission. From then on the caller is let in, within a second or so. */
export const fileAdmission = (deps: Deps): Operation<Input, Target, Admission, AdmissionView> =>
  operation<Input, Target, Admission, AdmissionView>({
    name: 'policies.admission.file',
    summary: 'Files the security record of a vendor or module: until there is one, every rule denies. Held until another officer has approved it.',
    effect: 'durable',
    route: { method: 'POST', path: ROUTE, status: 201 },
    input: INPUT,
    output: ADMISSION,
    locate: async (asked, caller) => ({ ...(await locateAdmission(deps, asked.callerId, caller)), asked }),
    uses: () => [],
    facts: (target) => {
      const { organisation, assessment, user, responsible } = target.asked
      return {
        public: {
          ...matterOf(target),
          ...organisationFacts(organisationOf(organisation), organisation.licenceSha256),
          ...assessmentFacts(assessmentOf(assessment), assessment.reportSha256),
        },
        personal: personalOf({ user, responsible }),
      }
    },
    admit: (target) =>
      obstacleToAny(target) ??
      (target.admission === undefined
        ? obstacleToAssessment(assessmentOf(target.asked.assessment), target.now)
        : new Problem('conflict', 'An admission of this caller is filed. Change it: gridseal admission change.')),
    leastHold: () => BY_ANOTHER_OFFICER,
    execute: (_permit, { asked, callerId, registration, by, now }) =>
      Promise.resolve({
        ...{ callerId, subject: callerUrn(found(registration)), organisation: organisationOf(asked.organisation), assessment: assessmentOf(asked.assessment) },
        ...{ user: asked.user, responsible: asked.responsible, state: 'admitted', change: 'filed', version: 1 },
        ...{ changedBy: callerUrn(by), changedAt: now, salt: deps.random(16) },
      }),
    record: async (tx, _target, admission) => ({ facts: { rows: [digestRow(await deps.admissions.insert(tx, admission))] } }),
    respond: ({ now }, admission) => viewAdmission(admission, now),
  })
