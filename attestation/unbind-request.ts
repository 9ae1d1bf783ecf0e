import type { Row } from '../core/row.ts'

/** That somebody wants a card and its device parted. Another person approves it. */
export interface UnbindRequest {
  readonly id: string
  readonly bindingId: string
  readonly reason: string
  /** 16 random bytes: the log has a digest of the row, and nobody is to guess the reason from it. */
  readonly salt: Uint8Array
  /** URN. */
  readonly requestedBy: string
  readonly requestedAt: Date
  /** URN. INVARIANT: not the requester's name. */
  readonly approvedBy?: string
  readonly approvedAt?: Date
  readonly version: number
}

/** What of a request is sealed: everything. */
export const unbindRequestRow = (r: UnbindRequest): Row => ({
  table: 'unbind_requests',
  schema: 1,
  id: r.id,
  version: r.version,
  columns: {
    binding_id: r.bindingId,
    reason: r.reason,
    salt: r.salt,
    requested_by: r.requestedBy,
    requested_at: r.requestedAt.toISOString(),
    approved_by: r.approvedBy,
    approved_at: r.approvedAt?.toISOString(),
  },
})
