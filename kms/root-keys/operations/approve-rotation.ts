import { z } from 'zod'
import { found } from '../../../core/found.ts'
import type { KeyId } from '../../../core/ids.ts'
import { Problem } from '../../../core/problem.ts'
import { digestRow } from '../../../core/row.ts'
import { sealRow } from '../../../core/sealed-records.ts'
import { firstOf, generationId, type GenerationMade, generationOf, generationRow, type RecordedGeneration, type RotatedKey } from '../../../pkcs11/index.ts'
import { type Caller, callerUrn } from '../../../policies/caller.ts'
import { type Operation, operation } from '../../../policies/operation.ts'
import { NO_ROWS, type Rotation, rotationRow } from '../rotation.ts'
import { countRows } from '../rotated-rows.ts'
import type { Deps } from './deps.ts'
import { NO_ROTATION, noOfficerPin, officersOnly, ROTATION, ROTATION_ID, type RotationView, rotationFacts, viewRotation } from './views.ts'

interface Input {
  readonly rotationId: string
}
interface Target extends Input {
  readonly rotation: Rotation | undefined
  readonly caller: Caller
  /** Whether the caller's person is the one who asked. */
  readonly isOwn: boolean
  /** Rows of the first pass. */
  readonly total: number
}
interface Result {
  readonly made: GenerationMade
  readonly rotation: Rotation
}

const newIdOf = ({ key, to }: Rotation): KeyId => generationId({ key, number: to })

/**
 * The ceremony is the execution: two officers, and with a storage KEK the security officer's PIN. Order: the intent, and the rotation as `making`; the new key in the
 * token, with a backup KEK wrapped under that; generations, backup and rotation (`working`) in one transaction. From then on the new generation is current.
 * A crash before leaves a key that nothing uses and that no start minds; the rotation is approved once more, which destroys that key and makes another.
 */
export const approveRotation = (deps: Deps): Operation<Input, Target, Result, RotationView> =>
  operation({
    name: 'kms.root-key.approve-rotation',
    summary: 'Approves the rotation of a root key, as another officer than who asked. The next generation is made in the token, and is current from then on.',
    effect: 'durable',
    route: { method: 'POST', path: '/v1/kms/root-keys/rotations/{rotationId}/approve' },
    input: z.strictObject({ rotationId: ROTATION_ID }),
    output: ROTATION,
    locate: async ({ rotationId }, caller) => {
      const rotation = await deps.rotations.find(rotationId)
      const isOwn = rotation !== undefined && (await deps.samePerson(rotation.requestedBy, caller))
      return { rotationId, rotation, caller, isOwn, total: rotation === undefined ? 0 : await countRows(deps, rotation.key) }
    },
    uses: ({ rotation }) => (rotation === undefined ? [] : [{ action: 'ceremony', keyId: newIdOf(rotation) }]),
    facts: ({ rotationId, rotation }) => ({
      public: { ...rotationFacts(rotationId, rotation), ...(rotation === undefined ? {} : { requestedBy: rotation.requestedBy }) },
    }),
    admit: ({ rotation, caller, isOwn }) => {
      if (rotation === undefined) return new Problem('not-found', NO_ROTATION)
      const refused = officersOnly(caller)
      if (refused !== undefined) return refused
      if (isOwn) return new Problem('forbidden', 'You asked for this yourself. Another officer must approve it.')
      if (rotation.state !== 'requested' && rotation.state !== 'making')
        return new Problem('conflict', `The rotation is ${rotation.state}: it was decided already.`)
      return rotation.key === 'storage-kek' && !deps.hsm.hasOfficer() ? noOfficerPin() : undefined
    },
    reserve: async (tx, target) => {
      const begun = beginning(deps, target)
      await deps.rotations.update(tx, begun)
      return [digestRow(rotationRow(begun))]
    },
    execute: async (permit, target) => {
      const rotation = beginning(deps, target)
      const made = await deps.hsm.makeGeneration(permit, newIdOf(rotation))
      const now = deps.now()
      const rows = { ...NO_ROWS, total: target.total }
      return { made, rotation: { ...rotation, state: 'working', pass: 1, rows, beganAt: now, passBeganAt: now, version: rotation.version + 1 } }
    },
    record: async (tx, _target, { made, rotation }) => {
      const recorded = await recordGenerations(deps, { made, rotation })
      const rows = recorded.map(({ record }) => digestRow(generationRow(record)))
      for (const { record, mac, isNew } of recorded) await (isNew ? deps.generations.insert : deps.generations.update)(tx, { record, mac })
      await deps.rotations.update(tx, rotation)
      const backups = await deps.generations.insertBackup(tx, made.backup)
      return {
        facts: {
          public: { state: rotation.state, kcv: Buffer.from(made.identity.kcv.value).toString('hex'), backedUp: made.backup !== undefined },
          rows: [...rows, digestRow(rotationRow(rotation)), ...backups],
        },
      }
    },
    recordFailure: async (tx, target) => {
      const begun = beginning(deps, target)
      const { decidedBy: _, decidedAt: __, ...standing } = begun
      const again: Rotation = { ...standing, state: 'requested', version: begun.version + 1 }
      await deps.rotations.update(tx, again)
      return [digestRow(rotationRow(again))]
    },
    respond: (_target, { rotation }) => {
      deps.wake()
      return viewRotation(rotation, { now: deps.now() })
    },
  })

const beginning = ({ now }: Pick<Deps, 'now'>, target: Target): Rotation => {
  const rotation = found(target.rotation)
  return { ...rotation, state: 'making', decidedBy: callerUrn(target.caller), decidedAt: now(), version: rotation.version + 1 }
}

/** The old generation as one before, the new one as current, each with its MAC. The first generation is recorded when it is replaced. */
async function recordGenerations(
  deps: Pick<Deps, 'generations' | 'sealer' | 'identity'>,
  { made, rotation }: Result,
): Promise<readonly { readonly record: RecordedGeneration; readonly mac: Uint8Array; readonly isNew: boolean }[]> {
  const before = (await deps.generations.load()).map(({ record }) => record).find((record) => isOf(record, rotation.key, rotation.from))
  const old: RecordedGeneration =
    before === undefined
      ? { identity: firstOf(rotation.key, deps.identity), state: 'older', rotationId: rotation.id, version: 1 }
      : { ...before, state: 'older', version: before.version + 1 }
  const fresh: RecordedGeneration = { identity: made.identity, state: 'current', rotationId: rotation.id, version: 1 }
  return [
    { record: old, mac: await sealRow(deps.sealer, generationRow(old)), isNew: before === undefined },
    { record: fresh, mac: await sealRow(deps.sealer, generationRow(fresh)), isNew: true },
  ]
}

const isOf = (record: RecordedGeneration, key: RotatedKey, number: number): boolean => {
  const generation = generationOf(record)
  return generation.key === key && generation.number === number
}
