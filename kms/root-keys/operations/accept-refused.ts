import { z } from 'zod'
import { found } from '../../../core/found.ts'
import { Problem } from '../../../core/problem.ts'
import { digestRow } from '../../../core/row.ts'
import type { Caller } from '../../../policies/caller.ts'
import { type Operation, operation } from '../../../policies/operation.ts'
import { type Rotation, rotationRow } from '../rotation.ts'
import type { Deps } from './deps.ts'
import { NO_ROTATION, officersOnly, ROTATION, ROTATION_ID, type RotationView, rotationFacts, viewRotation } from './views.ts'

interface Input {
  readonly rotationId: string
  readonly count: number
}
interface Target extends Input {
  readonly rotation: Rotation | undefined
  readonly caller: Caller
  /** Whether the caller's person is the one who asked. */
  readonly isOwn: boolean
}

/** Rows that are put back later from a backup of the database are under the old key, and that is gone then: so somebody says that there is nothing to put back. */
export const acceptRefused = ({
  rotations,
  samePerson,
  now,
  wake,
}: Pick<Deps, 'rotations' | 'samePerson' | 'now' | 'wake'>): Operation<Input, Target, Rotation, RotationView> =>
  operation({
    name: 'kms.root-key.accept-refused',
    summary: 'Gives up the rows of no generation that a rotation has found, as another officer than who asked: the old key is destroyed in spite of them.',
    effect: 'durable',
    route: { method: 'POST', path: '/v1/kms/root-keys/rotations/{rotationId}/accept-refused' },
    input: z.strictObject({
      rotationId: ROTATION_ID,
      count: z.int().min(1).max(1_000_000_000).meta({ description: 'How many: `rows.refused` of the rotation, as you have looked into them.' }),
    }),
    output: ROTATION,
    locate: async ({ rotationId, count }, caller) => {
      const rotation = await rotations.find(rotationId)
      return { rotationId, count, rotation, caller, isOwn: rotation !== undefined && (await samePerson(rotation.requestedBy, caller)) }
    },
    uses: () => [],
    facts: ({ rotationId, count, rotation }) => ({ public: { ...rotationFacts(rotationId, rotation), accepted: count } }),
    admit: ({ rotation, caller, count, isOwn }) => {
      if (rotation === undefined) return new Problem('not-found', NO_ROTATION)
      const refused = officersOnly(caller)
      if (refused !== undefined) return refused
      if (isOwn) return new Problem('forbidden', 'You asked for this rotation yourself. Another officer must give rows up.')
      const { rows } = rotation
      const standing = Math.max(rows.refused, rows.refusedBefore)
      if (rotation.state !== 'working') return new Problem('conflict', `The rotation is ${rotation.state}: it waits for no rows.`)
      return count === standing
        ? undefined
        : new Problem('conflict', `The rotation has refused ${standing} rows, and not ${count}. Look again: the log names them.`)
    },
    execute: (_permit, { rotation, count }) => {
      const standing = found(rotation)
      return Promise.resolve({ ...standing, accepted: count, version: standing.version + 1 })
    },
    record: async (tx, _target, rotation) => {
      await rotations.update(tx, rotation)
      return { facts: { rows: [digestRow(rotationRow(rotation))] } }
    },
    respond: (_target, rotation) => {
      wake()
      return viewRotation(rotation, { now: now() })
    },
  })
