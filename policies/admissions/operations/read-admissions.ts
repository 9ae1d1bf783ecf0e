import { z } from 'zod'
import { found } from '../../../core/found.ts'
import { CALLER_ID } from '../../callers/view.ts'
import { type Operation, operation } from '../../operation.ts'
import type { Admission } from '../admission.ts'
import { ADMISSION, ADMISSION_SUMMARY, type AdmissionSummary, type AdmissionView, summarise, viewAdmission } from '../view.ts'
import { type AdmissionTarget, type Deps, locateAdmission, matterOf, noAdmission, ONE, ROUTE } from './deps.ts'

export const getAdmission = (deps: Deps): Operation<{ callerId: string }, AdmissionTarget, Admission, AdmissionView> =>
  operation({
    name: 'policies.admission.get',
    summary: 'Shows the admission of a vendor or module as it is now.',
    effect: 'transient',
    route: { method: 'GET', path: ROUTE },
    input: ONE,
    output: ADMISSION,
    locate: ({ callerId }, caller) => locateAdmission(deps, callerId, caller),
    uses: () => [],
    facts: (target) => ({ public: matterOf(target) }),
    admit: ({ admission }) => (admission === undefined ? noAdmission() : undefined),
    execute: (_permit, { admission }) => Promise.resolve(found(admission)),
    respond: ({ now }, admission) => viewAdmission(admission, now),
  })

interface HistoryInput {
  readonly callerId: string
  readonly before?: number | undefined
  readonly limit: number
}
interface HistoryTarget extends AdmissionTarget {
  readonly page: HistoryInput
}

export const listAdmissionHistory = (deps: Deps): Operation<HistoryInput, HistoryTarget, Admission[], { versions: AdmissionView[] }> =>
  operation({
    name: 'policies.admission.history',
    summary: 'Shows what an admission was: every version, the newest first, with who changed it and when.',
    effect: 'transient',
    route: { method: 'GET', path: `${ROUTE}/history` },
    input: ONE.extend({
      before: z.coerce.number().int().min(1).max(2_147_483_647).optional().meta({ description: 'The last version of the page before.' }),
      limit: z.coerce.number().int().min(1).max(100).default(50),
    }),
    output: z.strictObject({ versions: z.array(ADMISSION) }),
    locate: async (page, caller) => ({ ...(await locateAdmission(deps, page.callerId, caller)), page }),
    uses: () => [],
    facts: (target) => ({ public: matterOf(target) }),
    admit: ({ admission }) => (admission === undefined ? noAdmission() : undefined),
    execute: (_permit, { callerId, page: { before, limit } }) => deps.admissions.history(callerId, { limit, ...(before === undefined ? {} : { before }) }),
    respond: ({ now }, versions) => ({ versions: versions.map((version) => viewAdmission(version, now)) }),
  })

interface ListInput {
  readonly expiresBefore?: string | undefined
  readonly after?: string | undefined
  readonly limit: number
}

export const listAdmissions = ({ admissions, now }: Deps): Operation<ListInput, ListInput, Admission[], { admissions: AdmissionSummary[] }> =>
  operation({
    name: 'policies.admission.list',
    summary: 'Lists admissions as they are now, without the persons, in the order of their callers.',
    effect: 'transient',
    route: { method: 'GET', path: '/v1/policies/admissions' },
    input: z.strictObject({
      expiresBefore: z.iso
        .datetime({ offset: true, error: 'a time with its offset (RFC 3339)' })
        .optional()
        .meta({ description: 'Only those whose assessment ends before, or has ended.' }),
      after: CALLER_ID.optional().meta({ description: 'The last caller id of the page before.' }),
      limit: z.coerce.number().int().min(1).max(1000).default(100),
    }),
    output: z.strictObject({ admissions: z.array(ADMISSION_SUMMARY) }),
    locate: (input) => Promise.resolve(input),
    uses: () => [],
    facts: () => ({}),
    execute: (_permit, { expiresBefore, after, limit }) =>
      admissions.list({
        ...{ limit, ...(after === undefined ? {} : { after }) },
        ...(expiresBefore === undefined ? {} : { expiresBefore: new Date(expiresBefore) }),
      }),
    outcomeFacts: (_target, page) => ({ public: { count: page.length } }),
    respond: (_target, page) => ({ admissions: page.map((one) => summarise(one, now())) }),
  })
