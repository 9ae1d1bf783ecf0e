import { z } from 'zod'
import { Problem } from '../../../core/problem.ts'
import { digestRow } from '../../../core/row.ts'
import { generationId, generationOf, generationsOf, parseGeneration, type RotatedKey } from '../../../pkcs11/index.ts'
import { type Caller, callerUrn } from '../../../policies/caller.ts'
import { type Operation, operation } from '../../../policies/operation.ts'
import { NO_ROWS, type Rotation, rotationRow } from '../rotation.ts'
import type { Deps } from './deps.ts'
import { noOfficerPin, officersOnly, REASON, ROTATED_KEY, ROTATION, type RotationView, viewRotation } from './views.ts'

interface Input {
  readonly key: RotatedKey
  readonly reason: string
}
interface Target extends Input {
  readonly caller: Caller
  readonly open: Rotation | undefined
  readonly rotation: Rotation
}

/** Nothing is made before another officer approves it. */
export const requestRotation = ({
  hsm,
  rotations,
  generations,
  now,
  newId,
  random,
}: Pick<Deps, 'hsm' | 'rotations' | 'generations' | 'now' | 'newId' | 'random'>): Operation<Input, Target, Rotation, RotationView> =>
  operation({
    name: 'kms.root-key.request-rotation',
    summary: 'Asks for a root key to be replaced by its next generation. Another officer approves it.',
    effect: 'durable',
    route: { method: 'POST', path: '/v1/kms/root-keys/{key}/rotations', status: 202 },
    input: z.strictObject({
      key: ROTATED_KEY,
      reason: REASON,
    }),
    output: ROTATION,
    locate: async ({ key, reason }, caller) => {
      const records = generationsOf(
        (await generations.load()).map(({ record }) => record),
        key,
      )
      const from = parseGeneration(hsm.currentGeneration(key))?.number ?? 1
      const to = Math.max(from, ...records.map((record) => generationOf(record).number)) + 1
      const asked = { requestedBy: callerUrn(caller), requestedAt: now(), state: 'requested', pass: 0, rows: NO_ROWS, accepted: 0, version: 1 } as const
      return { key, reason, caller, open: await rotations.findOpen(), rotation: { id: newId(), key, from, to, reason, salt: random(16), ...asked } }
    },
    uses: () => [],
    facts: ({ key, reason, rotation }) => ({
      public: {
        rotation: rotation.id,
        key,
        from: generationId({ key, number: rotation.from }),
        to: generationId({ key, number: rotation.to }),
      },
      // What people write may name people.
      personal: { reason },
    }),
    admit: ({ caller, open, key }) => {
      const refused = officersOnly(caller)
      if (refused !== undefined) return refused
      if (open !== undefined)
        return new Problem(
          'conflict',
          `The rotation ${open.id} of ${open.key} is ${open.state}: one rotation goes on at a time. See it, or cancel it while it is requested.`,
        )
      return key === 'storage-kek' && !hsm.hasOfficer() ? noOfficerPin() : undefined
    },
    execute: (_permit, { rotation }) => Promise.resolve(rotation),
    record: async (tx, _target, rotation) => {
      await rotations.insert(tx, rotation)
      return { facts: { rows: [digestRow(rotationRow(rotation))] } }
    },
    respond: (_target, rotation) => viewRotation(rotation, { now: now() }),
  })
