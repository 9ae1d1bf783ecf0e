import { z } from 'zod'
import { type Operation, operation } from '../../../policies/operation.ts'
import type { Rotation } from '../rotation.ts'
import type { Deps } from './deps.ts'
import { ROTATION, ROTATION_ID, type RotationView, viewRotation } from './views.ts'

interface Input {
  readonly limit: number
  readonly before?: string | undefined
}
interface Target {
  readonly limit: number
  readonly found: readonly Rotation[]
}

export const listRotations = ({
  rotations,
  now,
}: Pick<Deps, 'rotations' | 'now'>): Operation<Input, Target, readonly Rotation[], { rotations: RotationView[]; next?: string | undefined }> =>
  operation({
    name: 'kms.root-key.list-rotations',
    summary: 'Lists rotations of root keys, the newest first.',
    effect: 'transient',
    route: { method: 'GET', path: '/v1/kms/root-keys/rotations' },
    input: z.strictObject({
      limit: z.coerce.number().int().min(1).max(100).default(20).meta({ description: 'The most rotations to answer' }),
      before: ROTATION_ID.optional().meta({ description: '`next` of the page before' }),
    }),
    output: z.strictObject({
      rotations: z.array(ROTATION),
      next: z.string().optional().meta({ description: 'Ask with `before` set to it for the next page. Absent on the last page.' }),
    }),
    locate: async ({ limit, before }) => ({ limit, found: await rotations.list({ limit: limit + 1, ...(before === undefined ? {} : { before }) }) }),
    uses: () => [],
    facts: () => ({}),
    execute: (_permit, { found, limit }) => Promise.resolve(found.slice(0, limit)),
    outcomeFacts: (_target, page) => ({ public: { count: page.length } }),
    respond: ({ found, limit }, page) => {
      const last = found.length > limit ? page.at(-1)?.id : undefined
      return { rotations: page.map((rotation) => viewRotation(rotation, { now: now() })), ...(last === undefined ? {} : { next: last }) }
    },
  })
