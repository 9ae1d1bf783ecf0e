/** What of a table's rows the log does not tell, and why that is no hole. */
export interface RowRule {
  readonly why: string
  /** Rows are not compared with entries: only their MACs are checked. */
  readonly isUnlogged?: true
  /** A row may stand that no entry names. One that is named must stand as it is named. */
  readonly mayBeUnnamed?: true
  /** A row may be gone once the entry that named it last is so old. */
  readonly endsAfterMs?: number
  /** Each version of a row stays beside the ones before it. */
  readonly keepsVersions?: true
}

const HOUR_MS = 3_600_000

/** Of every other table: the newest version that an entry names stands, or the entry of its deletion (`deleted`), and nothing else does. */
export const ROW_RULES: Readonly<Record<string, RowRule>> = {
  attestation_nonces: {
    endsAfterMs: 23 * HOUR_MS,
    why: 'Challenges live 150 seconds and are purged a day after they end: an entry for each would double the log. One hour is for clocks that differ. A purged row that is put back is a version that was replaced, or spent.',
  },
  person_session_uses: {
    isUnlogged: true,
    why: 'When a session was used last: each use has an entry of its own. An older row that is put back ends its session sooner.',
  },
  token_key_backups: {
    mayBeUnnamed: true,
    why: 'Ceremonies of the command line write backups of keys, ciphertext under the MAC of the token, before there is a log. A backup that is missing is named by the service when it is restored.',
  },
  token_adoptions: {
    mayBeUnnamed: true,
    why: 'Who adopts a token does so before the service runs with it: the entry comes with the next start.',
  },
  log_recoveries: {
    mayBeUnnamed: true,
    why: 'The log is recovered before the service runs with it: the entry comes with the next start.',
  },
  audit_prunes: {
    mayBeUnnamed: true,
    why: 'The command line prunes the log beside the service: the entry comes within seconds, or with the next start, and before it nothing is deleted.',
  },
  ceremony_notes: {
    mayBeUnnamed: true,
    why: 'Ceremonies of the command line note what they did beside the service: the entry comes within a minute.',
  },
  admissions: { keepsVersions: true, why: 'Each change is a row of its own, and the highest version counts.' },
}
