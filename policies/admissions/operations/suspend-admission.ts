import type { z } from 'zod'
import { found } from '../../../core/found.ts'
import { Problem } from '../../../core/problem.ts'
import { digestRow } from '../../../core/row.ts'
import type { Tx } from '../../../core/tx.ts'
import { callerUrn } from '../../caller.ts'
import { type Operation, operation } from '../../operation.ts'
import { REASON } from '../../reason.ts'
import type { Admission } from '../admission.ts'
import { ADMISSION, type AdmissionView, viewAdmission } from '../view.ts'
import { type AdmissionTarget, BY_ANOTHER_OFFICER, type Deps, locateAdmission, matterOf, obstacleToChange, ONE, ROUTE } from './deps.ts'

const INPUT = ONE.extend({ reason: REASON })
type Input = z.infer<typeof INPUT>
interface Target extends AdmissionTarget {
  readonly reason: string
}

const common = (deps: Deps) => ({
  effect: 'durable' as const,
  input: INPUT,
  output: ADMISSION,
  locate: async ({ callerId, reason }: Input, caller: AdmissionTarget['by']): Promise<Target> => ({
    ...(await locateAdmission(deps, callerId, caller)),
    reason,
  }),
  uses: () => [],
  facts: (target: Target) => ({ public: { ...matterOf(target), reason: target.reason } }),
  record: async (tx: Tx, _target: Target, admission: Admission) => ({ facts: { rows: [digestRow(await deps.admissions.insert(tx, admission))] } }),
  respond: ({ now }: Target, admission: Admission): AdmissionView => viewAdmission(admission, now),
})

const nextVersion = (deps: Deps, { admission, reason, by, now }: Target, change: 'suspended' | 'resumed'): Admission => {
  const before = found(admission)
  return {
    ...{ ...before, reason, change, state: change === 'suspended' ? 'suspended' : 'admitted' },
    ...{ changedBy: callerUrn(by), changedAt: now, salt: deps.random(16), version: before.version + 1 },
  }
}

export const suspendAdmission = (deps: Deps): Operation<Input, Target, Admission, AdmissionView> =>
  operation({
    ...common(deps),
    name: 'policies.admission.suspend',
    summary: 'Suspends an admission at once: the caller is refused everything within 5 seconds, on open connections too.',
    route: { method: 'POST', path: `${ROUTE}/suspend` },
    admit: (target) =>
      obstacleToChange(target) ?? (target.admission?.state === 'suspended' ? new Problem('conflict', 'The admission is suspended already.') : undefined),
    execute: (_permit, target) => Promise.resolve(nextVersion(deps, target, 'suspended')),
  })

export const resumeAdmission = (deps: Deps): Operation<Input, Target, Admission, AdmissionView> =>
  operation({
    ...common(deps),
    name: 'policies.admission.resume',
    summary: 'Ends the suspension of an admission. Held until another officer has approved it.',
    route: { method: 'POST', path: `${ROUTE}/resume` },
    admit: (target) =>
      obstacleToChange(target) ?? (target.admission?.state === 'suspended' ? undefined : new Problem('conflict', 'The admission is not suspended.')),
    leastHold: () => BY_ANOTHER_OFFICER,
    execute: (_permit, target) => Promise.resolve(nextVersion(deps, target, 'resumed')),
  })
