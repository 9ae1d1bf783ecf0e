import { z } from 'zod'
import { found } from '../../../core/found.ts'
import { Problem } from '../../../core/problem.ts'
import { type Operation, operation } from '../../../policies/operation.ts'
import { isOpen, type Rotation } from '../rotation.ts'
import type { Deps } from './deps.ts'
import { NO_ROTATION, ROTATION, ROTATION_ID, type RotationView, rotationFacts, viewRotation } from './views.ts'

interface Target {
  readonly rotationId: string
  readonly rotation: Rotation | undefined
  readonly waitsFor: number | undefined
}

export const getRotation = ({
  rotations,
  countBehind,
  now,
}: Pick<Deps, 'rotations' | 'countBehind' | 'now'>): Operation<{ rotationId: string }, Target, Rotation, RotationView> =>
  operation({
    name: 'kms.root-key.get-rotation',
    summary: 'Shows the rotation of a root key, and how far it is.',
    effect: 'transient',
    route: { method: 'GET', path: '/v1/kms/root-keys/rotations/{rotationId}' },
    input: z.strictObject({ rotationId: ROTATION_ID }),
    output: ROTATION,
    locate: async ({ rotationId }) => {
      const rotation = await rotations.find(rotationId)
      return { rotationId, rotation, waitsFor: rotation !== undefined && isOpen(rotation) ? await countBehind() : undefined }
    },
    uses: () => [],
    facts: ({ rotationId, rotation }) => ({ public: rotationFacts(rotationId, rotation) }),
    admit: ({ rotation }) => (rotation === undefined ? new Problem('not-found', NO_ROTATION) : undefined),
    execute: (_permit, { rotation }) => Promise.resolve(found(rotation)),
    respond: ({ waitsFor }, rotation) => viewRotation(rotation, { now: now(), waitsFor }),
  })
