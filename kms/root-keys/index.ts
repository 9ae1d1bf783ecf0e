import { randomBytes } from 'node:crypto'
import { type Faults, noFaults } from '../../core/fault-point.ts'
import { databaseClock } from '../../core/database-clock.pg.ts'
import { newUuid } from '../../core/ids.ts'
import type { Problem } from '../../core/problem.ts'
import type { SealedTable } from '../../core/sealed-table.ts'
import type { Sql } from '../../core/tx.ts'
import { backupOf, generationRow, generationsInUse, type OpenHsm } from '../../pkcs11/index.ts'
import { insertKeyBackup, keyBackupTables, PgKeyBackupStore } from '../../pkcs11/key-backup-store.pg.ts'
import { PgRootKeyStore, rootKeyTables } from '../../pkcs11/root-key-store.pg.ts'
import type { GroupTable } from '../../policies/audit/index.ts'
import { type SamePerson, systemCaller } from '../../policies/caller.ts'
import { type Gate, perform } from '../../policies/gate.ts'
import type { AnyOperation } from '../../policies/operation.ts'
import { type Connect, GenerationFence } from './generation-fence.pg.ts'
import { GenerationFollower } from './generation-follower.ts'
import { InProgress } from './in-progress.ts'
import { authorisationTable, PgCeremonyAuthorisationStore } from './ceremony-authorisation-store.pg.ts'
import { acceptRefused } from './operations/accept-refused.ts'
import { approveRotation } from './operations/approve-rotation.ts'
import { authoriseCeremony } from './operations/authorise-ceremony.ts'
import { cancelRotation } from './operations/cancel-rotation.ts'
import type { Deps } from './operations/deps.ts'
import { exportBackup } from './operations/export-backup.ts'
import { getRotation } from './operations/get-rotation.ts'
import { listRotations } from './operations/list-rotations.ts'
import { renewRows } from './operations/renew-rows.ts'
import { requestRotation } from './operations/request-rotation.ts'
import { retireGeneration } from './operations/retire-generation.ts'
import type { Rotation } from './rotation.ts'
import { RotationJob } from './rotation-job.ts'
import { PgRotationStore, rotationTable } from './rotation-store.pg.ts'

export { authorisationOf, type Ceremony, type CeremonyAuthorisation } from './ceremony-authorisation.ts'
export { PgCeremonyAuthorisationStore } from './ceremony-authorisation-store.pg.ts'
export { backupFacts } from './operations/export-backup.ts'

/** How root keys are followed and rotated. Times are for tests. */
export interface RotationTimes {
  /** How often recorded generations are looked for. Default 1000. */
  readonly followMs?: number
  /** See {@link RotationJob}. */
  readonly pollMs?: number
  readonly waitMs?: number
  readonly graceMs?: number
  readonly refusedMs?: number
  readonly retryMs?: number
}

export interface GenerationsDeps {
  readonly hsm: Pick<OpenHsm, 'integrity' | 'rootKeys' | 'identity'>
  readonly sql: Sql
  /** A connection of its own. */
  readonly connect: Connect
  /** Rows that somebody keeps are to be forgotten. */
  readonly onChange: () => void
  /** Told of every failure to follow. */
  readonly onError: (error: unknown) => void
  readonly times?: RotationTimes
}

/** With which generations of the root keys this process works, and that others know it. */
export interface Generations {
  readonly store: PgRootKeyStore
  readonly fence: GenerationFence
  readonly follower: GenerationFollower
  /** To be told of every operation: `Gate.onBegin`. */
  readonly inProgress: InProgress
}

/** Opens what the database has recorded, before anything is made or sealed. Throws `integrity-failed`. */
export async function openGenerations({ hsm, sql, connect, onChange, onError, times = {} }: GenerationsDeps): Promise<Generations> {
  const store = new PgRootKeyStore(sql)
  const fence = new GenerationFence({ connect, sql })
  const inProgress = new InProgress()
  const follower = new GenerationFollower({
    ...{ fence, onChange, onError, identity: hsm.identity, rootKeys: hsm.rootKeys, drained: () => inProgress.drained() },
    store: {
      number: () => store.number(),
      load: async (identity) => {
        const sealed = await store.generations()
        await hsm.integrity.assertRowsByToken(sealed.map(({ record, mac }) => ({ row: generationRow(record), mac })))
        return generationsInUse(
          sealed.map(({ record }) => record),
          identity,
        )
      },
    },
    ...(times.followMs === undefined ? {} : { pollMs: times.followMs }),
  })
  try {
    await follower.open()
  } catch (error) {
    await fence.close()
    throw error
  }
  return { store, fence, follower, inProgress }
}

export interface RootKeyDeps {
  readonly hsm: Pick<OpenHsm, 'hsm' | 'integrity' | 'identity' | 'rootKeys'>
  readonly sql: Sql
  readonly gate: Gate
  readonly generations: Generations
  /** The sealed tables of all features; those of the root keys come on top. */
  readonly tables: () => readonly SealedTable[]
  readonly groups: GroupTable
  /** Whether the caller is the person of a URN. */
  readonly samePerson: SamePerson
  /** Whether it is this process that brings rotations to their end. */
  readonly leads: () => boolean
  readonly now?: () => Date
  readonly faults?: Faults
  readonly times?: RotationTimes
  /** Told of every failure of the job. */
  readonly onFailure?: (problem: Problem, rotation: Rotation | undefined) => void
}

export interface RootKeyFeature {
  readonly operations: readonly AnyOperation[]
  /** Every table whose rows bear MACs: the one registry, for rotations and for who checks the whole database. */
  readonly sealedTables: readonly SealedTable[]
  /** Brings approved rotations to their end, as the caller `system:rotation`. */
  readonly rotationJob: Pick<RotationJob, 'start' | 'wake' | 'stop' | 'progress'>
}

/** Rotation of storage KEK, row-MAC key and group-MAC key; what two officers decide on backups and ceremonies. */
export function rootKeyFeature({
  hsm,
  sql,
  gate,
  generations: { store, fence, follower },
  tables,
  groups,
  samePerson,
  leads,
  now = () => new Date(),
  faults = noFaults,
  times = {},
  onFailure,
}: RootKeyDeps): RootKeyFeature {
  const sealer = hsm.integrity
  const rotations = new PgRotationStore({ sql, sealer })
  const sealedTables = [...tables(), ...keyBackupTables(sql), ...rootKeyTables(sql), rotationTable(sql), authorisationTable(sql)]
  const backups = new PgKeyBackupStore(sql)
  const countBehind = async (): Promise<number> => {
    await follower.look()
    return fence.countBelow(hsm.rootKeys.number)
  }
  const deps: Deps = {
    ...{ sealer, rotations, groups, samePerson, countBehind, now },
    hsm: hsm.hsm,
    integrity: hsm.integrity,
    identity: hsm.identity,
    generations: {
      load: async () => {
        const sealed = await store.generations()
        await hsm.integrity.assertRowsByToken(sealed.map(({ record, mac }) => ({ row: generationRow(record), mac })))
        return sealed
      },
      insert: (tx, generation) => store.insertGeneration(tx, generation),
      update: (tx, generation) => store.updateGeneration(tx, generation),
      insertBackup: (tx, backup) => insertKeyBackup(tx, sealer, backup),
    },
    authorisations: new PgCeremonyAuthorisationStore({ sql, sealer }),
    backups: {
      load: async () => {
        const rows = await backups.loadChecked(sealer)
        return rows.length === 0 ? undefined : backupOf(rows)
      },
      unsaved: (kek) => backups.unsaved(kek),
    },
    databaseNow: databaseClock(sql),
    tables: () => sealedTables,
    newId: () => newUuid(),
    random: randomBytes,
    wake: () => {
      void follower.look().catch(() => undefined)
      job.wake()
    },
  }
  const [renew, retire] = [renewRows(deps), retireGeneration(deps)]
  const asRotation = async (op: AnyOperation, rotationId: string): Promise<Record<string, unknown>> =>
    (await perform(gate, op, { caller: systemCaller('rotation'), body: { rotationId } })) as Record<string, unknown>
  const { pollMs, waitMs, graceMs, refusedMs, retryMs } = times
  const job = new RotationJob({
    ...{ rotations, countBehind, leads, faults },
    steps: {
      renew: async (rotationId) => Number((await asRotation(renew, rotationId))['renewed']),
      retire: async (rotationId) => void (await asRotation(retire, rotationId)),
    },
    ...(pollMs === undefined ? {} : { pollMs }),
    ...(waitMs === undefined ? {} : { waitMs }),
    ...(graceMs === undefined ? {} : { graceMs }),
    ...(refusedMs === undefined ? {} : { refusedMs }),
    ...(retryMs === undefined ? {} : { retryMs }),
    ...(onFailure === undefined ? {} : { onFailure }),
  })
  return {
    operations: [
      ...[requestRotation(deps), approveRotation(deps), cancelRotation(deps), acceptRefused(deps), getRotation(deps), listRotations(deps)],
      ...[exportBackup(deps), authoriseCeremony(deps)],
      ...[renew, retire],
    ],
    sealedTables,
    rotationJob: job,
  }
}
