import { z } from 'zod'
import { found } from '../../../core/found.ts'
import { Problem } from '../../../core/problem.ts'
import { digestRow } from '../../../core/row.ts'
import { type Caller, callerUrn } from '../../../policies/caller.ts'
import { type Operation, operation } from '../../../policies/operation.ts'
import { type Rotation, rotationRow } from '../rotation.ts'
import type { Deps } from './deps.ts'
import { NO_ROTATION, officersOnly, ROTATION, ROTATION_ID, type RotationView, rotationFacts, viewRotation } from './views.ts'

interface Target {
  readonly rotationId: string
  readonly rotation: Rotation | undefined
  readonly caller: Caller
}

export const cancelRotation = ({ rotations, now }: Pick<Deps, 'rotations' | 'now'>): Operation<{ rotationId: string }, Target, Rotation, RotationView> =>
  operation({
    name: 'kms.root-key.cancel-rotation',
    summary: 'Cancels the rotation of a root key that nobody has approved.',
    effect: 'durable',
    route: { method: 'POST', path: '/v1/kms/root-keys/rotations/{rotationId}/cancel' },
    input: z.strictObject({ rotationId: ROTATION_ID }),
    output: ROTATION,
    locate: async ({ rotationId }, caller) => ({ rotationId, rotation: await rotations.find(rotationId), caller }),
    uses: () => [],
    facts: ({ rotationId, rotation }) => ({ public: rotationFacts(rotationId, rotation) }),
    admit: ({ rotation, caller }) => {
      if (rotation === undefined) return new Problem('not-found', NO_ROTATION)
      const refused = officersOnly(caller)
      if (refused !== undefined) return refused
      return rotation.state === 'requested'
        ? undefined
        : new Problem('conflict', `The rotation is ${rotation.state}: only one that is requested is cancelled. What was begun is brought to its end.`)
    },
    execute: (_permit, { rotation, caller }) => {
      const { version, ...standing } = found(rotation)
      const at = now()
      return Promise.resolve({ ...standing, state: 'cancelled', decidedBy: callerUrn(caller), decidedAt: at, endedAt: at, version: version + 1 })
    },
    record: async (tx, _target, rotation) => {
      await rotations.update(tx, rotation)
      return { facts: { public: { state: rotation.state }, rows: [digestRow(rotationRow(rotation))] } }
    },
    respond: (_target, rotation) => viewRotation(rotation, { now: now() }),
  })
