import type { HsmStats } from '../pkcs11/index.ts'
import { alarmKinds } from '../policies/alarms/index.ts'
import type { Metrics } from './metrics.ts'
import { isWell } from './service-health.ts'
import type { OpenService } from './service.ts'

/** What the parts of the service tell of themselves, beside the requests. */
export function addServiceMetrics(metrics: Metrics, service: OpenService): void {
  const lanes = service.hsm.stats
  metrics.gauge('gridseal_token_state', 'The token: 2 ready, 1 degraded (some lanes work), 0 away.', () => TOKEN_STATES[lanes().token.state])
  metrics.gauge('gridseal_token_state_since_seconds', 'Since when it is in that state, Unix time.', () => lanes().token.since.getTime() / 1000)
  metrics.gauge('gridseal_lanes_ready', 'Lanes that work.', () => lanes().lanes.ready)
  metrics.gauge('gridseal_lanes_load', 'What waits for the lanes, counted in P-256 signatures.', () => lanes().lanes.load)
  metrics.gauge('gridseal_lane_restarts', 'Lanes that were replaced.', () => lanes().lanes.restarts)
  metrics.gauge('gridseal_lane_deadlines', 'Lanes that were killed because they gave no sign of life.', () => lanes().lanes.deadlines)
  for (const [name, help, read] of OWN_KEY_USES) metrics.gauge(name, help, () => read(lanes()))
  const rotation = (): OpenService['rotations']['rotationJob']['progress'] => service.rotations.rotationJob.progress
  metrics.gauge(
    'gridseal_root_key_rotation_state',
    'The rotation of a root key: 0 none, 1 to be approved, 2 its key is being made, 3 rows are brought under it, 4 the old key is to be destroyed.',
    () => ROTATION_STATES[rotation().state],
  )
  metrics.gauge('gridseal_root_key_rows_renewed', 'Rows that this process has brought under new root keys.', () => rotation().renewed)
  const receivers = (): ReturnType<OpenService['forwarding']['status']> => service.forwarding.status()
  metrics.gauges('gridseal_forwarding_lag', 'Signed entries that a receiver is not known to have read; on the leader.', 'receiver', () =>
    receivers().map(({ receiver, lag }) => [receiver, lag]),
  )
  metrics.gauges('gridseal_forwarding_position', 'Entries that a receiver is known to have read; on the leader.', 'receiver', () =>
    receivers().map(({ receiver, position }) => [receiver, position ?? 0]),
  )
  metrics.gauges('gridseal_forwarding_up_to_seconds', 'All that was signed by then a receiver has read, Unix time; on the leader.', 'receiver', () =>
    receivers().map(({ receiver, upTo }) => [receiver, upTo.getTime() / 1000]),
  )
  metrics.gauges('gridseal_forwarding_failing', '1: forwarding to a receiver fails, and is tried again.', 'receiver', () =>
    receivers().map(({ receiver, state }) => [receiver, state === 'failing' ? 1 : 0]),
  )
  const witnesses = (): ReturnType<OpenService['audit']['witnesses']> => service.audit.witnesses()
  metrics.gauge('gridseal_witnesses_well', 'Witnesses that have cosigned what there is, or will soon.', () => witnesses().filter(isWell).length)
  metrics.gauge(
    'gridseal_witnesses_not_well',
    'Witnesses that are behind, or say that the log has another history.',
    () => witnesses().filter((one) => !isWell(one)).length,
  )
  metrics.gauge('gridseal_witness_lag_entries', 'Signed entries that the witness furthest behind has not cosigned.', () =>
    Math.max(0, ...witnesses().map(({ lag }) => lag)),
  )
  metrics.gauges('gridseal_alarm_active', 'Alarms of this node: 1 while there is one of the kind.', 'kind', () => {
    const active = new Set(service.alarms.active.map(({ kind }) => kind))
    return alarmKinds().map((kind) => [kind, active.has(kind) ? 1 : 0])
  })
  const integrity = (): OpenService['integrity']['job']['status'] => service.integrity.job.status
  metrics.gauge('gridseal_integrity_open_findings', 'What in the database is not what the log says.', () => integrity().openFindings)
  metrics.gauge(
    'gridseal_integrity_passed_at_seconds',
    'When the whole database was compared with the log last, Unix time; 0: never.',
    () => (integrity().lastPassAt?.getTime() ?? 0) / 1000,
  )
}

const ROTATION_STATES = { none: 0, requested: 1, making: 2, working: 3, closing: 4, retired: 0, cancelled: 0 } as const

/** Uses of the keys that no caller names: they are counted and not logged singly. */
const OWN_KEY_USES: readonly (readonly [name: string, help: string, read: (stats: HsmStats) => number])[] = [
  ['gridseal_integrity_rows', 'Row MACs made and checked.', ({ integrity }) => integrity.rows],
  ['gridseal_integrity_groups', 'Group MACs of the log made and checked.', ({ integrity }) => integrity.groups],
  ['gridseal_integrity_checkpoints', 'Checkpoints signed.', ({ integrity }) => integrity.checkpoints],
  ['gridseal_integrity_blind_indexes', 'Blind indexes made.', ({ integrity }) => integrity.blindIndexes],
  ['gridseal_person_secrets_peppers', 'MACs by the pepper key: of passwords, recovery codes and devices.', ({ personSecrets }) => personSecrets.peppers],
  ['gridseal_person_secrets_made', 'Secrets of one-time codes made.', ({ personSecrets }) => personSecrets.secretsMade],
  ['gridseal_person_secrets_codes', 'HMACs of one-time codes.', ({ personSecrets }) => personSecrets.codes],
]

const TOKEN_STATES = { ready: 2, degraded: 1, away: 0 } as const
