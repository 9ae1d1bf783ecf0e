/** `critical`: something may be forged, lost or unprovable. `warning`: it will come to that, or part of the service stands still. */
export type Severity = 'critical' | 'warning'

interface Kind {
  readonly severity: Severity
  /** What it means that it is raised. */
  readonly meaning: string
  /** What to do. */
  readonly remedy: string
  /** How long it must last before it is raised, in milliseconds. Default 0: what finds it has waited already. */
  readonly lastsMs?: number
}

/** Every alarm there is. At most one of a kind is open; `detail` says which things it is about. docs/alarms.md is made of this table. */
export const ALARM_KINDS = {
  'open-intent': {
    severity: 'warning',
    meaning: 'An operation was announced in the log, and its outcome is not there: a crash, or a resolver that fails.',
    remedy: 'Wait a minute: reconciliation closes what nobody works on. If it stays, the service’s log names the operation and why it cannot be closed.',
  },
  'writer-gap': {
    severity: 'critical',
    meaning: 'Numbers of a writer’s sequence are missing: committed entries were deleted from the database. The log has stopped.',
    remedy: 'Keep the database as it is, look for who deleted them, and restore a copy that has them.',
  },
  'group-forged': {
    severity: 'critical',
    meaning: 'A group of entries is not what the token MACed: it was edited, exchanged or slipped in. The log has stopped.',
    remedy: 'Keep the database as it is, look for who wrote to it, and restore a copy from before.',
  },
  'history-changed': {
    severity: 'critical',
    meaning: 'The tree in the database is not the one that was signed, or is older: it was changed or rolled back. The log has stopped.',
    remedy: 'Keep the database as it is, and restore one that is not behind the last signed checkpoint.',
  },
  'checkpoint-late': {
    severity: 'critical',
    meaning: 'Entries wait, and no checkpoint was signed for them: until one is, nobody can prove them.',
    remedy: 'See whether the token is away, the data folder full, or no node leads; the service’s log says what is tried again.',
    // Of a leader that has just begun to sign, one look may see the time before.
    lastsMs: 2000,
  },
  'witness-behind': {
    severity: 'warning',
    meaning: 'A witness has not cosigned for too long what was signed: who asks for cosignatures cannot rely on the newest entries yet.',
    remedy: 'See to the witness and the network to it; the detail has what it said last.',
  },
  'witness-other-history': {
    severity: 'critical',
    meaning: 'A witness has cosigned a head that does not belong to this log’s history: one of the two was set back or forged.',
    remedy: 'Keep database, token and data folder as they are, and compare with the witness’s checkpoint: docs/witnesses.md.',
  },
  'forwarder-behind': {
    severity: 'warning',
    meaning: 'A receiver of the log is not known to have read what was signed. Nothing is lost: it is sent once the receiver takes it.',
    remedy: 'See to the receiver and the network to it; the detail has the last error. Files and keys of a receiver are read at the start.',
  },
  'verification-failed': {
    severity: 'critical',
    meaning: 'The database is not what the log says: rows, entries or the schema were changed past the service.',
    remedy: 'gridseal integrity show names each finding and what to do. Keep the database as it is for who investigates.',
  },
  'clock-step': {
    severity: 'critical',
    meaning: 'This machine’s clock and the database’s differ by over 2 s, one of them jumped, or it is earlier than the last checkpoint.',
    remedy: 'Set the clocks right (NTP). Until they are, the node refuses whatever changes something or uses a key (`clock-unreliable`).',
  },
  'token-away': {
    severity: 'critical',
    meaning: 'The token cannot be used: no key, no MAC, no signature.',
    remedy: 'See to the HSM and its network. The service uses it again by itself.',
    lastsMs: 3000,
  },
  'log-partitions-run-out': {
    severity: 'warning',
    meaning:
      'Hardly any partition of the table of entries lies ahead of the log. Entries that have none go into the default one: nothing is lost, but pruning it is slow.',
    remedy: 'Start the service anew, on one node: each start makes the partitions that are missing, as the owner of the tables.',
  },
  'disk-nearly-full': {
    severity: 'warning',
    meaning:
      'The data folder has little room left. When it has none, checkpoints are not kept outside the database, and an embedded database refuses to write.',
    remedy: 'Make room, or give it a larger disk.',
  },
} as const satisfies Readonly<Record<string, Kind>>

export type AlarmKind = keyof typeof ALARM_KINDS

export const isAlarmKind = (text: string): text is AlarmKind => Object.hasOwn(ALARM_KINDS, text)

/** The kinds in the order of the table. */
export const alarmKinds = (): readonly AlarmKind[] => Object.keys(ALARM_KINDS).filter(isAlarmKind)

export const kindOf = (kind: AlarmKind): Kind => ALARM_KINDS[kind]
