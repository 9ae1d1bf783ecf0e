import { digestRow } from '../../core/row.ts'
import type { Tx } from '../../core/tx.ts'
import type { Facts } from '../audit/log.ts'
import type { QuotaClaim } from '../firewall/decide.ts'
import type { QuotaStore } from './quota-store.ts'

/** What the gate asks of quotas. Both throw `quota-exceeded`. */
export interface QuotaDesk {
  /** In the transaction of the intent: what is taken and what it is for stand together, or not at all. */
  take(tx: Tx, claim: QuotaClaim): Promise<Facts>
  /** From what this node has leased, and where that does not do, from a new lease. */
  takeLeased(claim: QuotaClaim): Promise<void>
}

/** A lease is this part of the quota, so that what a node that ends leaves unused is little, and a busy one leases seldom. */
const PART = 100
const MOST_BLOCK = 1000
/** Quotas that a node has leases of at most; beyond it, it forgets all, and what they had left. */
const MOST_LEASES = 100_000

interface Lease {
  left: number
  /** The lease that is under way: who comes meanwhile waits for it. */
  underWay: Promise<void> | undefined
}

/**
 * The quotas of one node. Never more than the quota is given out, over all nodes: a lease is taken from the store before anything of it is.
 * What a node has leased and not used when it ends is lost to the period.
 */
export class NodeQuotas implements QuotaDesk {
  readonly #quotas: QuotaStore
  readonly #lease: (claim: QuotaClaim, block: number) => Promise<number>
  readonly #leases = new Map<string, Lease>()

  /** `lease`: performs `policies.quota.lease`; answers how much was taken, throws `quota-exceeded`. */
  constructor({ quotas, lease }: { readonly quotas: QuotaStore; readonly lease: (claim: QuotaClaim, block: number) => Promise<number> }) {
    this.#quotas = quotas
    this.#lease = lease
  }

  async take(tx: Tx, claim: QuotaClaim): Promise<Facts> {
    return { rows: [digestRow((await this.#quotas.take(tx, claim)).row)] }
  }

  async takeLeased(claim: QuotaClaim): Promise<void> {
    const lease = this.#leaseOf(`${claim.period} ${claim.key}`)
    for (;;) {
      while (lease.underWay !== undefined) await lease.underWay.catch(() => undefined)
      if (lease.left >= claim.amount) {
        lease.left -= claim.amount
        return
      }
      const block = Math.max(claim.amount, Math.min(MOST_BLOCK, Math.ceil(claim.most / PART)))
      lease.underWay = this.#lease(claim, block)
        .then((taken) => {
          lease.left += taken
        })
        .finally(() => {
          lease.underWay = undefined
        })
      await lease.underWay
    }
  }

  #leaseOf(key: string): Lease {
    const known = this.#leases.get(key)
    if (known !== undefined) return known
    if (this.#leases.size >= MOST_LEASES) this.#leases.clear()
    const lease: Lease = { left: 0, underWay: undefined }
    this.#leases.set(key, lease)
    return lease
  }
}
