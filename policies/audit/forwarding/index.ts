import type { Sql } from '../../../core/tx.ts'
import type { AuditFeature } from '../index.ts'
import { Forwarder, type ForwarderParts, type ForwarderStatus } from './forwarder.ts'
import { PgPositionStore } from './position-store.pg.ts'
import type { Receiver } from './receiver.ts'
import { readFiles } from './syslog-connection.ts'

export { forwardersBehind } from './forwarders-behind.ts'
export type { ForwarderStatus } from './forwarder.ts'
export { parseReceivers, type Receiver } from './receiver.ts'

export interface ForwardingSettings extends Pick<ForwarderParts, 'hostname' | 'onChange' | 'times'> {
  readonly sql: Sql
  readonly audit: Pick<AuditFeature, 'reader' | 'key' | 'status'>
  readonly receivers: readonly Receiver[]
}

export interface Forwarding {
  status(): readonly ForwarderStatus[]
  /** Once the log is started. Throws where a file of a receiver cannot be read. */
  start(): Promise<void>
  stop(): Promise<void>
}

/** Forwards the log to other systems, each by itself: docs/audit-export.md. */
export function forwardingFeature({ sql, audit, receivers, ...settings }: ForwardingSettings): Forwarding {
  const positions = new PgPositionStore(sql, audit.key.name, () => audit.reader.minimumIndex())
  const forwarders = receivers.map(
    (receiver) =>
      new Forwarder({
        ...{ ...settings, receiver, positions, reader: audit.reader, origin: audit.key.name },
        leads: () => audit.status().leading,
        signedSize: () => audit.status().signedSize,
      }),
  )
  return {
    status: () => forwarders.map(({ status }) => status),
    start: async () => {
      await Promise.all(receivers.map(readFiles))
      for (const forwarder of forwarders) forwarder.start()
    },
    stop: async () => {
      await Promise.all(forwarders.map((forwarder) => forwarder.stop()))
    },
  }
}
