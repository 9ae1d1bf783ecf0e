import type { Row } from '../core/row.ts'

/** How strong the evidence of a binding is. L1: signed by the card's key. */
export type Level = 'L1'

/** A card and the device that it sits in. `udid`: a UUID, of devices that have one. */
export interface Pair {
  readonly iccid: string
  /** 14 digits: the canonical form (TS 23.003 6.2). */
  readonly imei: string
  readonly udid?: string
}

export const deviceOf = ({ imei, udid }: Pair): Omit<Pair, 'iccid'> => ({ imei, ...(udid === undefined ? {} : { udid }) })

/** That a card sat in a device, from a time and until one. INVARIANT (the database's): at no instant has a card two devices or a device two cards. */
export interface Binding extends Pair {
  readonly id: string
  readonly level: Level
  /** `conflict`: another claim to its card or device was proved as well. A person decides. */
  readonly state: 'bound' | 'conflict'
  readonly from: Date
  /** Exclusive. Absent: it stands. */
  readonly until?: Date
  readonly lastProvedAt: Date
  /** The evidence of the last proof, as it came. */
  readonly evidence: Uint8Array
  /** URN of the caller. */
  readonly boundBy: string
  readonly endedBy?: string
  readonly version: number
}

/** What of a binding is sealed: everything. */
export const bindingRow = (b: Binding): Row => ({
  table: 'bindings',
  schema: 1,
  id: b.id,
  version: b.version,
  columns: {
    iccid: b.iccid,
    imei: b.imei,
    udid: b.udid,
    level: b.level,
    state: b.state,
    from: b.from.toISOString(),
    until: b.until?.toISOString(),
    last_proved_at: b.lastProvedAt.toISOString(),
    evidence: b.evidence,
    bound_by: b.boundBy,
    ended_by: b.endedBy,
  },
})

/** A claim that was proved against a binding that stands: one of the two is a clone, or was moved without leave. */
export interface BindingConflict extends Pair {
  readonly id: string
  readonly bindingId: string
  /** The binding's evidence when the claim came. */
  readonly standingEvidence: Uint8Array
  readonly evidence: Uint8Array
  readonly claimedBy: string
  readonly claimedAt: Date
  readonly version: number
}

export const conflictRow = (c: BindingConflict): Row => ({
  table: 'binding_conflicts',
  schema: 1,
  id: c.id,
  version: c.version,
  columns: {
    binding_id: c.bindingId,
    standing_evidence: c.standingEvidence,
    iccid: c.iccid,
    imei: c.imei,
    udid: c.udid,
    evidence: c.evidence,
    claimed_by: c.claimedBy,
    claimed_at: c.claimedAt.toISOString(),
  },
})

/** What the bindings that touch a pair say of it. `contradicted`: its card or its device stands bound to another. */
export type Standing =
  | { readonly kind: 'free' }
  | { readonly kind: 'same'; readonly binding: Binding }
  | { readonly kind: 'contradicted'; readonly by: readonly Binding[] }

/** A UDID that one side leaves out contradicts nothing. */
export function compare(pair: Pair, touching: readonly Binding[]): Standing {
  const isSame = (b: Binding): boolean =>
    b.iccid === pair.iccid && b.imei === pair.imei && (b.udid === undefined || pair.udid === undefined || b.udid === pair.udid)
  const by = touching.filter((binding) => !isSame(binding))
  if (by.length > 0) return { kind: 'contradicted', by }
  const [binding] = touching
  return binding === undefined ? { kind: 'free' } : { kind: 'same', binding }
}
