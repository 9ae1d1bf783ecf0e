import { concat, utf8 } from '../../../core/bytes.ts'
import { callerUrn } from '../../caller.ts'
import type { FoundEntry } from '../reader.ts'
import { type Weight, weightOf } from '../weight.ts'

/** Entries as syslog messages (RFC 5424), framed for TLS (RFC 5425 4.3). Pure. */

export interface SyslogSource {
  /** The log's name. */
  readonly origin: string
  /** Of the machine that sends. */
  readonly hostname: string
}

/** RFC 5424 6.2.1: 13, log audit. */
const FACILITY = 13
/** RFC 5424 6.2.1. */
const SEVERITIES = { informational: 6, low: 5, medium: 4, high: 3, critical: 2 } as const satisfies Record<Weight, number>
/** RFC 5612 sets 32473 aside for documentation: no number is ours, and the name tells what it is. */
const SD_ID = 'gridseal@32473'

/**
 * `MSG-LEN SP SYSLOG-MSG`. MSG is the entry's exact bytes; the structured data bear what receivers sort by, and the index, by which they drop what comes twice.
 * MSG is UTF-8 without a byte order mark (RFC 5424 6.4 MSG-ANY), so that what is stored is what was signed.
 */
export function syslogFrame({ index, bytes, entry }: FoundEntry, { origin, hostname }: SyslogSource): Uint8Array {
  const { slot, epoch, seq } = entry.writer
  const elements: readonly (readonly [name: string, value: string | undefined])[] = [
    ['index', String(index)],
    ['id', entry.id],
    ['operation', entry.operation],
    ['kind', entry.kind],
    ['code', entry.code],
    ['caller', callerUrn(entry.caller)],
    ['origin', origin],
    ['writer', `${slot}/${epoch}/${seq}`],
  ]
  const parameters = elements.flatMap(([name, value]) => (value === undefined ? [] : [`${name}="${escaped(value)}"`]))
  const priority = FACILITY * 8 + SEVERITIES[weightOf(entry)]
  const head = `<${priority}>1 ${entry.time} ${printable(hostname, 255)} gridseal - ${entry.kind} [${SD_ID} ${parameters.join(' ')}] `
  const message = concat(utf8(head), bytes)
  return concat(utf8(`${message.length} `), message)
}

/** RFC 5424 6.3.3. */
const escaped = (value: string): string => value.replaceAll(/["\\\]]/g, '\\$&')

/** RFC 5424 6: PRINTUSASCII, or the NILVALUE. */
const printable = (text: string, most: number): string => text.replaceAll(/[^\x21-\x7e]/g, '').slice(0, most) || '-'
