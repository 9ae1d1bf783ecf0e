import { z } from 'zod'
import { found } from '../../../core/found.ts'
import { Problem } from '../../../core/problem.ts'
import { digestRow } from '../../../core/row.ts'
import { sealRow } from '../../../core/sealed-records.ts'
import { generationId, generationRow, type RecordedGeneration } from '../../../pkcs11/index.ts'
import { type Operation, operation } from '../../../policies/operation.ts'
import { type Rotation, rotationRow } from '../rotation.ts'
import type { Deps } from './deps.ts'
import { oldGeneration } from './renew-rows.ts'
import { NO_ROTATION, ROTATION_ID, rotationFacts } from './views.ts'

interface Target {
  readonly rotationId: string
  readonly rotation: Rotation | undefined
  /** Processes that may use the old generation still. */
  readonly behind: number
}
interface Result {
  readonly rotation: Rotation
  readonly generation: RecordedGeneration
}
const OUTPUT = z.strictObject({ retired: z.string() })

/**
 * Destroys the old generation in the token, once nothing is under it and nobody uses it. Order: the intent; the key; the rows. A crash after the key is gone leaves it
 * recorded as `closing`, which no start minds, and the same is done again. Its backups stay, for who restores a database of before.
 */
export const retireGeneration = (deps: Deps): Operation<{ rotationId: string }, Target, Result, z.infer<typeof OUTPUT>> =>
  operation({
    name: 'kms.root-key.retire',
    summary: 'Destroys the old generation of a root key, under which nothing is any more.',
    effect: 'durable',
    input: z.strictObject({ rotationId: ROTATION_ID }),
    output: OUTPUT,
    locate: async ({ rotationId }) => ({ rotationId, rotation: await deps.rotations.find(rotationId), behind: await deps.countBehind() }),
    uses: ({ rotation }) => (rotation === undefined ? [] : [{ action: 'ceremony', keyId: idOf(rotation, 'from') }]),
    facts: ({ rotationId, rotation }) => ({ public: rotationFacts(rotationId, rotation) }),
    admit: ({ rotation, behind }) => {
      if (rotation === undefined) return new Problem('not-found', NO_ROTATION)
      if (rotation.state !== 'closing') return new Problem('conflict', `The rotation is ${rotation.state}: the old generation stays.`)
      return behind > 0 ? new Problem('conflict', `${behind} processes of the service may still use the old generation.`) : undefined
    },
    execute: async (permit, target) => {
      const rotation = found(target.rotation)
      const old = await oldGeneration(deps, rotation)
      if (old.state !== 'closing') throw new Problem('integrity-failed', `The generation ${old.identity.keyId} is ${old.state}, and was to be closing.`)
      await deps.hsm.destroyGeneration(permit, { keyId: idOf(rotation, 'from'), successor: idOf(rotation, 'to') })
      return {
        rotation: { ...rotation, state: 'retired', endedAt: deps.now(), version: rotation.version + 1 },
        generation: { ...old, state: 'retired', version: old.version + 1 },
      }
    },
    record: async (tx, _target, { rotation, generation }) => {
      const row = generationRow(generation)
      await deps.generations.update(tx, { record: generation, mac: await sealRow(deps.sealer, row) })
      await deps.rotations.update(tx, rotation)
      return { facts: { public: { state: rotation.state }, rows: [digestRow(row), digestRow(rotationRow(rotation))] } }
    },
    respond: (_target, { generation }) => {
      deps.wake()
      return { retired: generation.identity.keyId }
    },
  })

const idOf = (rotation: Rotation, which: 'from' | 'to') => generationId({ key: rotation.key, number: rotation[which] })
