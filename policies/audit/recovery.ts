import type { IccidRange } from '../../core/iccid.ts'
import type { OperationId } from '../../core/ids.ts'
import type { Row } from '../../core/row.ts'

/**
 * The log goes on without entries that it had signed: the database that had them is gone for good. It goes on under another origin, so that no key signs two
 * histories of one log, and what must never be issued twice goes on above what the lost entries may have issued. Sealed: who owns the database can make the
 * service refuse, and can neither give entries up nor take a floor away.
 */
export interface LogRecovery {
  /** 1, 2 ... */
  readonly number: number
  /** Of the ceremony, and of its event in the log. */
  readonly operationId: OperationId
  /** How many adoptions of tokens came before it. */
  readonly adoptions: number
  /** Verifier keys in C2SP note form: the same key under both origins. */
  readonly oldKey: string
  readonly newKey: string
  /** Entries under the last checkpoint of the old origin that the database has. */
  readonly logSize: number
  /** Entries under the largest that is known. */
  readonly lostSize: number
  /** Of the largest, where more than its size is known. */
  readonly lostRoot?: Uint8Array
  readonly floors: Floors
  readonly reason: string
  /** RFC 3339. */
  readonly recoveredAt: string
}

/** What may have been issued by lost entries. */
export interface Floors {
  /** CRLs of every authority go on above this number. */
  readonly crlNumber: number
  /** ICCIDs that count as issued. */
  readonly iccids: readonly IccidRange[]
}

export const recoveryRow = (r: LogRecovery): Row => ({
  table: 'log_recoveries',
  schema: 1,
  id: String(r.number),
  version: 1,
  columns: {
    operation_id: r.operationId,
    adoptions: r.adoptions,
    old_key: r.oldKey,
    new_key: r.newKey,
    log_size: r.logSize,
    lost_size: r.lostSize,
    lost_root: r.lostRoot,
    crl_number: r.floors.crlNumber,
    iccids: encodeRanges(r.floors.iccids),
    reason: r.reason,
    recovered_at: r.recoveredAt,
  },
})

/** `first-last first-last`. */
export const encodeRanges = (ranges: readonly IccidRange[]): string => ranges.map(([first, last]) => `${first}-${last}`).join(' ')

export const decodeRanges = (text: string): IccidRange[] =>
  text === '' ? [] : text.split(' ').map((range): IccidRange => [range.slice(0, range.indexOf('-')), range.slice(range.indexOf('-') + 1)])

/** The floors of all recoveries together. */
export const floorsOf = (recoveries: readonly LogRecovery[]): Floors => ({
  crlNumber: Math.max(0, ...recoveries.map(({ floors }) => floors.crlNumber)),
  iccids: recoveries.flatMap(({ floors }) => floors.iccids),
})

/** An origin that was never another's, whatever the database forgot: the first one, and when it was. `gridseal.example/audit/1/20261126T095003Z`. */
export const newOrigin = (first: string, at: Date): string => `${first}/${at.toISOString().replaceAll(/[-:]|\.\d+/g, '')}`
