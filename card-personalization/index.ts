import type { CardFacts } from '../core/card-facts.ts'
import { type Faults, noFaults } from '../core/fault-point.ts'
import type { IccidRange } from '../core/iccid.ts'
import type { KeyId } from '../core/ids.ts'
import type { Problem } from '../core/problem.ts'
import type { RowSealer, SealedRow } from '../core/row.ts'
import type { DependentRows, SealedTable } from '../core/sealed-table.ts'
import type { Sql } from '../core/tx.ts'
import type { CardMaster, Hsm, StoredKey } from '../pkcs11/index.ts'
import { type SamePerson, systemCaller } from '../policies/caller.ts'
import { type Gate, perform } from '../policies/gate.ts'
import type { AnyOperation } from '../policies/operation.ts'
import type { FoundCard } from './card-store.ts'
import { cardTable, PgCardStore } from './card-store.pg.ts'
import { deliveryTable, PgDeliveryStore } from './delivery-store.pg.ts'
import { FillJob } from './fill-job.ts'
import { beginOrder } from './operations/begin-order.ts'
import { certifyCards } from './operations/certify-cards.ts'
import { confirmVendor } from './operations/confirm-vendor.ts'
import { approveOrder, cancelOrder } from './operations/decide-order.ts'
import type { CardCertifier, Deps } from './operations/deps.ts'
import { establishProfile } from './operations/establish-profile.ts'
import { fetchDelivery } from './operations/fetch-delivery.ts'
import { fillCards } from './operations/fill-cards.ts'
import { getOrder } from './operations/get-order.ts'
import { getTransportKey } from './operations/get-transport-key.ts'
import { getVendor } from './operations/get-vendor.ts'
import { haltOrder } from './operations/halt-order.ts'
import { listOrders } from './operations/list-orders.ts'
import { listVendors } from './operations/list-vendors.ts'
import { makeTransportKey } from './operations/make-transport-key.ts'
import { registerVendor } from './operations/register-vendor.ts'
import { resumeOrder } from './operations/resume-order.ts'
import { sealDelivery } from './operations/seal-delivery.ts'
import { submitOrder } from './operations/submit-order.ts'
import { keyedCard } from './order.ts'
import { orderTables, PgOrderStore } from './order-store.pg.ts'
import { IssuedIccids } from './issued-iccids.ts'
import { orderedIccids } from './ordered-iccids.pg.ts'
import { DERIVATION_TYPES, findProfile, type ProfileId, PROFILES } from './profile.ts'
import { PgProfileStore, profileTables } from './profile-store.pg.ts'
import { PgTransportKeyStore, transportKeyTables } from './transport-key-store.pg.ts'
import { PgVendorStore, vendorTable } from './vendor-store.pg.ts'

export { behindEachRun } from './iccid-runs.pg.ts'

export interface CardPersonalizationDeps {
  readonly hsm: Hsm
  readonly sealer: RowSealer
  readonly sql: Sql
  /** Through which the fill job and the establishing of profiles go. */
  readonly gate: Gate
  /** The cards' CA. */
  readonly certifier: CardCertifier
  /** Whether who confirms a fingerprint is a person who has confirmed it. */
  readonly samePerson: SamePerson
  /** The delivery certificate and those above it up to the root, DER. Asked at each sealing. */
  readonly deliveryChain: () => Promise<readonly Uint8Array[]>
  /** ICCIDs that count as issued: see {@link IssuedIccids}. Default none. */
  readonly issuedIccids?: readonly IccidRange[]
  /** Lanes of the token. Twice as many chunks are filled at a time, so that a lane has work while another chunk is written. Default 2. */
  readonly lanes?: number
  readonly now?: () => Date
  readonly faults?: Faults
  /** How often the fill job looks without being woken, and how it waits after failures: see {@link FillJob}. */
  readonly pollMs?: number
  readonly retryMs?: number
  /** Told of every failure of the fill job. */
  readonly onFillFailure?: (problem: Problem, orderId: string | undefined) => void
}

export interface CardPersonalizationFeature {
  readonly operations: readonly AnyOperation[]
  /** Makes the keys of each profile that has none, as the caller `system:profiles`. At each start; it does nothing at the second. */
  establishProfiles(): Promise<void>
  readonly fillJob: Pick<FillJob, 'start' | 'wake' | 'stop'>
  /** Its tables whose rows bear MACs. */
  readonly sealedTables: readonly SealedTable[]
  /** What stands without MACs of its own, and was sealed with other rows. */
  readonly dependentRows: readonly DependentRows[]
  /** Forgets rows that are kept because they never change: a rotation of root keys has changed them. */
  forgetRows(): void
  /** What card authentication needs of a card; undefined for an ICCID that has no keys. The lane that uses a key checks its row. Reads of one turn are shared. */
  findKeys(iccid: string): Promise<CardKeys | undefined>
  /** Where a card whose keys stand belongs, and how far it is. MACs are not checked: who relies on it checks `sealed`. Reads of one turn are shared. */
  findStanding(iccid: string): Promise<CardStanding | undefined>
  /** What policies see of the card of that id. Throws `integrity-failed` where its rows were edited. */
  factsOf(cardId: string): Promise<CardFacts>
  /** The keys that all cards of a profile share. */
  profileKeys(profile: ProfileId): Promise<ProfileKeys | undefined>
}

export interface CardStanding {
  readonly facts: CardFacts
  /** The card's row and its order's, which the facts are from. */
  readonly sealed: readonly [SealedRow, SealedRow]
}

export interface ProfileKeys {
  readonly master: CardMaster
  readonly operatorKey: StoredKey
  /** Derivation type of the authentication key. */
  readonly authType: number
}
export interface CardKeys extends ProfileKeys {
  /** Of the card's row, which is its Ki's row. */
  readonly id: KeyId
  readonly iccid: string
  readonly ki: StoredKey
  readonly standing: CardStanding
}

export function cardPersonalizationFeature(given: CardPersonalizationDeps): CardPersonalizationFeature {
  const { hsm, sealer, sql, gate } = given
  const profiles = new PgProfileStore({ sql, sealer })
  const orders = new PgOrderStore({ sql, sealer })
  const cards = new PgCardStore({ sql, sealer })
  const deps: Deps = {
    ...{ hsm, sealer, profiles, orders, certifier: given.certifier, samePerson: given.samePerson },
    vendors: new PgVendorStore({ sql, sealer }),
    transportKeys: new PgTransportKeyStore({ sql, sealer }),
    cards,
    deliveries: new PgDeliveryStore({ sql, sealer }),
    issuedIccids: new IssuedIccids(given.issuedIccids ?? []),
    now: given.now ?? (() => new Date()),
    deliveryChain: given.deliveryChain,
    wake: () => fillJob.wake(),
  }
  const [establish, begin, fill, certify] = [establishProfile(deps), beginOrder(deps), fillCards(deps), certifyCards(deps)]
  const [seal, halt] = [sealDelivery(deps), haltOrder(deps)]
  const asFill = async (op: AnyOperation, body: object): Promise<void> => void (await perform(gate, op, { caller: systemCaller('fill'), body }))
  const fillJob = new FillJob({
    orders,
    steps: {
      begin: (orderId) => asFill(begin, { orderId }),
      fill: async (orderId, chunk) => {
        if ((await orders.findChunk(orderId, chunk))?.state === 'open') await asFill(fill, { orderId, chunk })
        if ((await orders.findChunk(orderId, chunk))?.state === 'keyed') await asFill(certify, { orderId, chunk })
      },
      seal: (orderId) => asFill(seal, { orderId }),
      halt: (orderId, { code, detail }) => asFill(halt, { orderId, code, detail: detail.slice(0, 2_000) }),
    },
    parallel: 2 * (given.lanes ?? 2),
    faults: given.faults ?? noFaults,
    ...(given.pollMs === undefined ? {} : { pollMs: given.pollMs }),
    ...(given.retryMs === undefined ? {} : { retryMs: given.retryMs }),
    ...(given.onFillFailure === undefined ? {} : { onFailure: given.onFillFailure }),
  })

  // What a profile's keys are does not change but by a rotation of root keys: its rows are read once, and the lane checks them at each use.
  const known = new Map<ProfileId, ProfileKeys>()
  const profileKeys = async (id: ProfileId): Promise<ProfileKeys | undefined> => {
    const kept = known.get(id)
    if (kept !== undefined) return kept
    const established = await profiles.find(id)
    if (established === undefined) return undefined
    const keys = { master: established.master, operatorKey: established.operatorKey, authType: DERIVATION_TYPES.auth }
    known.set(id, keys)
    return keys
  }

  return {
    findKeys: async (iccid) => {
      const found = await cards.findByIccid(iccid)
      const profile = found && findProfile(found.card.profile)
      const shared = profile && (await profileKeys(profile.id))
      return found && shared && { ...shared, id: found.card.id, iccid, ki: { id: found.card.id, sealed: found.sealed }, standing: standingOf(found) }
    },
    findStanding: async (iccid) => {
      const found = await cards.findByIccid(iccid)
      return found && standingOf(found)
    },
    factsOf: async (cardId) => {
      const found = await cards.findById(cardId)
      if (found === undefined) return {}
      const { facts, sealed } = standingOf(found)
      await sealer.assertRows(sealed)
      return facts
    },
    profileKeys,
    sealedTables: [...[vendorTable(sql), ...transportKeyTables(sql), ...profileTables(sql)], ...[...orderTables(sql), cardTable(sql), deliveryTable(sql)]],
    dependentRows: [orderedIccids(sql)],
    forgetRows: () => known.clear(),
    operations: [
      ...[registerVendor(deps), confirmVendor(deps), getVendor(deps), listVendors(deps), makeTransportKey(deps), getTransportKey(deps), establish],
      ...[submitOrder(deps), getOrder(deps), listOrders(deps), approveOrder(deps), cancelOrder(deps), resumeOrder(deps), begin, halt],
      ...[fill, certify, seal, fetchDelivery(deps)],
    ],
    establishProfiles: async () => {
      for (const profile of Object.keys(PROFILES) as ProfileId[]) {
        if ((await profiles.find(profile)) !== undefined) continue
        await perform(gate, establish, { caller: systemCaller('profiles'), body: { profile } })
      }
    },
    fillJob,
  }
}

const standingOf = ({ order, sealed, sealedOrder }: FoundCard): CardStanding => ({ facts: keyedCard(order), sealed: [sealed, sealedOrder] })
