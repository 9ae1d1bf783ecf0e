import type { StoredGroup } from './sequencer-store.ts'

/** The chain of the group before `audit_groups g`; null for the first of its epoch. */
export const CHAIN_BEFORE =
  '(SELECT chain FROM audit_groups b WHERE b.writer = g.writer AND b.epoch = g.epoch AND b.first_seq < g.first_seq ORDER BY b.first_seq DESC LIMIT 1)'

/** Columns of `audit_groups g`, for {@link groupOf}. */
export const GROUP_COLUMNS = 'g.writer, g.epoch, g.first_seq, g.count, g.bundle, g.chain, g.mac'

export interface GroupRow {
  readonly writer: number
  readonly epoch: number
  readonly first_seq: string
  readonly count: number
  readonly bundle: Buffer
  readonly chain: Buffer
  readonly mac: Buffer
}

export const groupOf = ({ writer, epoch, first_seq: seq, count, bundle, chain, mac }: GroupRow): StoredGroup => ({
  ...{ writer, epoch, firstSeq: Number(seq), count, bundle, chain, mac },
})
