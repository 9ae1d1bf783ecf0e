import type { StoredGroup } from './sequencer-store.ts'

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
