import { z } from 'zod'
import { UUID_PATTERN } from '../../../core/ids.ts'
import { Problem } from '../../../core/problem.ts'
import { ROTATED_KEY_NAMES, generationId, type RotatedKey } from '../../../pkcs11/index.ts'
import type { Facts } from '../../../policies/audit/log.ts'
import type { Caller } from '../../../policies/caller.ts'
import { type Rotation, ROTATION_STATES } from '../rotation.ts'

export const ROTATED_KEY = z.enum(ROTATED_KEY_NAMES as [RotatedKey, ...RotatedKey[]]).meta({
  description:
    'storage-kek: wraps every key that lives in the database. row-mac: seals the rows of the database. group-mac: seals what the log commits, until it is signed.',
})

export const REASON = z
  .string()
  .trim()
  .min(1)
  .max(500)
  .regex(/^[^\p{C}]*$/u, 'a reason has no control characters')
  .meta({ description: 'Why: for who approves it.', example: 'yearly' })

export const ROTATION_ID = z.string().regex(UUID_PATTERN, 'an id is a UUID in lower case').meta({ description: 'Id of the rotation.' })

export const ROTATION = z
  .strictObject({
    rotationId: z.string(),
    key: ROTATED_KEY,
    from: z.string().meta({ description: 'The generation that is replaced.', example: 'root:storage-kek' }),
    to: z.string().meta({ description: 'Its successor.', example: 'root:storage-kek-2' }),
    reason: z.string(),
    state: z.enum(ROTATION_STATES).meta({
      description:
        'requested: another officer is to approve it. making: the ceremony runs, or was cut off and is to be approved once more. working: the new generation is current, and rows are brought under it. closing: nothing is under the old one, which is to be destroyed. retired: it was.',
    }),
    requestedBy: z.string(),
    requestedAt: z.string(),
    decidedBy: z.string().optional(),
    decidedAt: z.string().optional(),
    pass: z.int().meta({ description: 'The pass over all rows that is under way. The last finds nothing under the old generation.' }),
    rows: z
      .strictObject({
        total: z.int().meta({ description: 'About how many this pass goes over.' }),
        seen: z.int().meta({ description: 'Of this pass.' }),
        found: z.int().meta({ description: 'Of this pass: under the old generation.' }),
        refused: z.int().meta({ description: 'Of this pass, or the one before: of no generation. Someone changed them in the database; the log names them.' }),
        accepted: z.int().meta({ description: 'Refused rows that two officers have given up. The old key stays while there are others.' }),
        renewed: z.int().meta({ description: 'Of all passes: brought under the new generation.' }),
      })
      .meta({ description: 'Counts of rows.' }),
    rowsPerSecond: z.number().optional().meta({ description: 'Of the pass that is under way, or was the last.' }),
    /** Only while it is open. */
    waitsFor: z
      .int()
      .optional()
      .meta({ description: 'Processes of the service that do not work with the newest generations yet, for which a pass or the end waits.' }),
    beganAt: z.string().optional(),
    endedAt: z.string().optional(),
  })
  .meta({ id: 'RootKeyRotation', description: 'The replacement of a root key by its next generation.' })

export type RotationView = z.infer<typeof ROTATION>

export function viewRotation(r: Rotation, { now, waitsFor }: { readonly now: Date; readonly waitsFor?: number | undefined }): RotationView {
  const seconds = r.passBeganAt === undefined ? 0 : ((r.endedAt ?? now).getTime() - r.passBeganAt.getTime()) / 1000
  return {
    rotationId: r.id,
    key: r.key,
    from: generationId({ key: r.key, number: r.from }),
    to: generationId({ key: r.key, number: r.to }),
    reason: r.reason,
    state: r.state,
    requestedBy: r.requestedBy,
    requestedAt: r.requestedAt.toISOString(),
    ...(r.decidedBy === undefined ? {} : { decidedBy: r.decidedBy }),
    ...(r.decidedAt === undefined ? {} : { decidedAt: r.decidedAt.toISOString() }),
    pass: r.pass,
    rows: {
      ...{ total: r.rows.total, seen: r.rows.seen, found: r.rows.found, renewed: r.rows.renewed },
      ...{ refused: Math.max(r.rows.refused, r.rows.refusedBefore), accepted: r.accepted },
    },
    ...(seconds > 0 && r.rows.seen > 0 ? { rowsPerSecond: Math.round((10 * r.rows.seen) / seconds) / 10 } : {}),
    ...(waitsFor === undefined ? {} : { waitsFor }),
    ...(r.beganAt === undefined ? {} : { beganAt: r.beganAt.toISOString() }),
    ...(r.endedAt === undefined ? {} : { endedAt: r.endedAt.toISOString() }),
  }
}

/** What policy and log see of a rotation. */
export const rotationFacts = (rotationId: string, r: Rotation | undefined): NonNullable<Facts['public']> =>
  r === undefined
    ? { rotation: rotationId }
    : { rotation: rotationId, key: r.key, from: generationId({ key: r.key, number: r.from }), to: generationId({ key: r.key, number: r.to }), state: r.state }

export const NO_ROTATION = 'There is no rotation of that id.'

/** Root keys are the officers', whatever the policy says. */
export const officersOnly = (caller: Caller): Problem | undefined =>
  caller.kind === 'officer' ? undefined : new Problem('forbidden', 'Only officers decide on root keys.')

/** A storage KEK is TRUSTED, which the security officer of the token alone can set. */
export const noOfficerPin = (): Problem =>
  new Problem(
    'conflict',
    'A storage KEK is made with the security officer’s PIN, and this service does not have it. Set GRIDSEAL_OFFICER_PIN_FILE (or officerPinFile) to the file, start the service again, and approve again.',
  )
