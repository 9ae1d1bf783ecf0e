import type { z } from 'zod'
import { found } from '../../../core/found.ts'
import { digestRow } from '../../../core/row.ts'
import { callerUrn } from '../../caller.ts'
import { type Operation, operation } from '../../operation.ts'
import type { Admission } from '../admission.ts'
import { ADMISSION, type AdmissionView, ASSESSMENT, assessmentOf, CONTACT, ORGANISATION, organisationOf, viewAdmission } from '../view.ts'
import {
  type AdmissionTarget,
  assessmentFacts,
  BY_ANOTHER_OFFICER,
  type Deps,
  locateAdmission,
  matterOf,
  obstacleToAssessment,
  obstacleToChange,
  ONE,
  organisationFacts,
  personalOf,
  ROUTE,
} from './deps.ts'

const INPUT = ONE.extend({
  organisation: ORGANISATION.optional(),
  user: CONTACT.optional(),
  responsible: CONTACT.optional(),
  assessment: ASSESSMENT.optional(),
}).refine(({ organisation, user, responsible, assessment }) => [organisation, user, responsible, assessment].some((part) => part !== undefined), {
  message: 'at least one of organisation, user, responsible and assessment',
})
type Input = z.infer<typeof INPUT>
interface Target extends AdmissionTarget {
  readonly asked: Input
}

/** Persons come and go: one officer enters them. Organisation and assessment are what the admission stands on: two do. A suspended admission stays so. */
export const changeAdmission = (deps: Deps): Operation<Input, Target, Admission, AdmissionView> =>
  operation<Input, Target, Admission, AdmissionView>({
    name: 'policies.admission.change',
    summary:
      'Changes an admission: user and responsible person at once; organisation and security assessment once another officer has approved it. What it was before is kept.',
    effect: 'durable',
    route: { method: 'POST', path: `${ROUTE}/change` },
    input: INPUT,
    output: ADMISSION,
    locate: async (asked, caller) => ({ ...(await locateAdmission(deps, asked.callerId, caller)), asked }),
    uses: () => [],
    facts: (target) => {
      const { organisation, assessment, user, responsible } = target.asked
      const changed = (['organisation', 'user', 'responsible', 'assessment'] as const).filter((part) => target.asked[part] !== undefined)
      return {
        public: {
          ...matterOf(target),
          changed,
          ...(organisation === undefined ? {} : organisationFacts(organisationOf(organisation), organisation.licenceSha256)),
          ...(assessment === undefined ? {} : assessmentFacts(assessmentOf(assessment), assessment.reportSha256)),
        },
        personal: personalOf({ user, responsible }),
      }
    },
    admit: (target) => {
      const { assessment } = target.asked
      return obstacleToChange(target) ?? (assessment === undefined ? undefined : obstacleToAssessment(assessmentOf(assessment), target.now))
    },
    leastHold: ({ asked: { organisation, assessment } }) => (organisation === undefined && assessment === undefined ? undefined : BY_ANOTHER_OFFICER),
    execute: (_permit, { asked, admission, by, now }) => {
      const { reason: _, ...before } = found(admission)
      const { organisation, user, responsible, assessment } = asked
      return Promise.resolve({
        ...before,
        ...(organisation === undefined ? {} : { organisation: organisationOf(organisation) }),
        ...(user === undefined ? {} : { user }),
        ...(responsible === undefined ? {} : { responsible }),
        ...(assessment === undefined ? {} : { assessment: assessmentOf(assessment) }),
        ...{ change: 'changed', changedBy: callerUrn(by), changedAt: now, salt: deps.random(16), version: before.version + 1 },
      })
    },
    record: async (tx, _target, admission) => ({ facts: { rows: [digestRow(await deps.admissions.insert(tx, admission))] } }),
    respond: ({ now }, admission) => viewAdmission(admission, now),
  })
