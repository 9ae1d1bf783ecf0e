import { batched } from '../../core/batch.ts'
import { Problem } from '../../core/problem.ts'
import { digestRow, type RowDigest } from '../../core/row.ts'
import type { Tx } from '../../core/tx.ts'
import type { RootKeyId } from '../../pkcs11/index.ts'
import type { Permit } from '../../policies/permit.ts'
import { type LocatedIssuer, loadChain, locateIssuer, obstacleToIssuing } from './authorities.ts'
import type { CertificateRecord, FoundCertificate, RevocationReason } from './certificate.ts'
import { certificateParts, certificatePlanner, type PlannedCertificate, signPlanned } from './issuing.ts'
import type { CertificateDeps } from './operations/deps.ts'
import { AUTHORITIES, subjectOf } from './profile.ts'

/** A card that gets a certificate. */
export interface CardSubject {
  readonly cardId: string
  readonly iccid: string
  /** SPKI DER of the card's key. */
  readonly spki: Uint8Array
}

/** Certificates that are ready to be signed, in the order of the cards. */
export interface PlannedCardCertificates {
  /** 32 hex digits each. */
  readonly serials: readonly string[]
  readonly issuer: LocatedIssuer
  readonly planned: readonly PlannedCertificate[]
}

/** Certificates as signed and verified, in the order of the cards. Not durable yet. */
export interface IssuedCardCertificates {
  readonly serials: readonly string[]
  readonly ders: readonly Uint8Array[]
  readonly records: readonly CertificateRecord[]
}

/** A card's certificate as it was issued. Its row's MAC has been checked. */
export interface CardCertificate {
  /** 32 hex digits. */
  readonly serial: string
  /** SPKI DER. */
  readonly spki: Uint8Array
  readonly der: Uint8Array
  readonly state: 'issued' | 'revoked'
  /** Of a revoked one. */
  readonly reason?: RevocationReason
  readonly notBefore: Date
  readonly notAfter: Date
}

/**
 * Certificates of cards, for the operations of other features: these run the steps in their own pipeline, under their own permit.
 * Order of durable effects: {@link reserve} in the transaction of the intent, {@link sign}, {@link record} in the transaction of the outcome. What a crash
 * leaves: before the intent nothing; between, rows that stay `reserved`, serials that are not used again, and at most signatures that nobody has.
 */
export interface CardCertificates {
  /** The key in the token that signs: for the `uses` of who certifies. */
  readonly signer: RootKeyId
  /** A certificate for each card, serials drawn; why it cannot be, as a Problem. Nothing is durable yet. */
  plan(cards: readonly CardSubject[]): Promise<PlannedCardCertificates | Problem>
  /** Serials and TBS digests, in the transaction of the intent: before anything is signed. */
  reserve(tx: Tx, planned: PlannedCardCertificates): Promise<readonly RowDigest[]>
  /** sign {@link signer}. The row of the cards CA is checked first; each certificate is verified. Throws `hsm-failed` or `integrity-failed`. */
  sign(permit: Permit, planned: PlannedCardCertificates): Promise<IssuedCardCertificates>
  /** Writes them, in the transaction of the outcome. The digests of the rows, in the order of the cards. */
  record(tx: Tx, issued: IssuedCardCertificates): Promise<readonly RowDigest[]>
  /** The card's certificate that was issued last, also a revoked one. Reads of one turn share one statement and one check. Throws `integrity-failed` on an edited row. */
  find(cardId: string): Promise<CardCertificate | undefined>
  /** DER by card id, for deliveries. Throws `integrity-failed` where one is missing or its row was edited. */
  ders(cardIds: readonly string[]): Promise<ReadonlyMap<string, Uint8Array>>
  /** The cards CA and the root, DER, MACs checked; empty before they are established. */
  chain(): Promise<readonly Uint8Array[]>
}

export function cardCertificates(deps: Omit<CertificateDeps, 'callers' | 'cardFacts'>): CardCertificates {
  const { certificates, sealer, hsm, organization } = deps
  // Rows of one read are checked by one call. Where one of them is not right each is checked for itself, so that it hinders no other.
  const findLast = batched(async (cardIds: string[]) => {
    const found = await certificates.findLast('card', cardIds)
    const areRight = await sealer.assertRows([...found.values()].map(({ sealed }) => sealed)).then(
      () => true,
      () => false,
    )
    return new Map([...found].map(([cardId, one]) => [cardId, { one, isChecked: areRight }]))
  })
  return {
    signer: AUTHORITIES.cards,
    plan: async (cards) => {
      const issuer = await locateIssuer('cards', deps)
      const now = deps.now()
      const obstacle = obstacleToIssuing(issuer, now)
      if (issuer === undefined || obstacle !== undefined) return obstacle ?? new Problem('internal', 'There is no cards CA.')
      const planOne = certificatePlanner({ profile: 'card', issuer: issuer.issuer, organization, crlUrl: deps.crlUrl, now })
      const random = deps.random(16 * cards.length)
      const planned = cards.map(({ cardId, iccid, spki }, at) =>
        planOne({
          subject: subjectOf.card(organization, iccid),
          subjectKind: 'card',
          subjectId: cardId,
          spki,
          names: [{ kind: 'uri', value: `urn:gridseal:card:${iccid}` }],
          random: random.subarray(16 * at, 16 * at + 16),
        }),
      )
      return { serials: planned.map(({ record }) => record.serial), issuer, planned }
    },
    reserve: async (tx, { planned }) => {
      const reserved = await certificates.reserveCertificates(
        tx,
        planned.map(({ record }) => record),
      )
      return reserved.map(digestRow)
    },
    sign: async (permit, { issuer, planned }) => {
      await sealer.assertRows([issuer.found.sealed])
      const records = planned.length === 0 ? [] : await signPlanned(permit, hsm, planned)
      return { records, serials: records.map(({ serial }) => serial), ders: records.map(derOf) }
    },
    record: async (tx, { records }) => (await certificates.replaceCertificates(tx, records)).map(digestRow),
    find: async (cardId) => {
      const found = await findLast(cardId)
      if (found === undefined) return undefined
      if (!found.isChecked) await sealer.assertRows([found.one.sealed])
      return viewCard(found.one)
    },
    ders: async (cardIds) => {
      const found = await certificates.findLast('card', cardIds)
      const missing = cardIds.find((cardId) => !found.has(cardId))
      if (missing !== undefined) throw new Problem('integrity-failed', `The certificate of card ${missing} is not there.`)
      await sealer.assertRows([...found.values()].map(({ sealed }) => sealed))
      return new Map([...found].map(([cardId, { record }]) => [cardId, derOf(record)]))
    },
    chain: async () => (await loadChain('cards', deps)).map(({ record }) => derOf(record)),
  }
}

const derOf = ({ der }: CertificateRecord): Uint8Array => der ?? new Uint8Array()

function viewCard({ record }: FoundCertificate): CardCertificate {
  const { serial, revoked, notBefore, notAfter } = record
  const der = derOf(record)
  return {
    ...{ serial, der, spki: certificateParts(der).spki, notBefore, notAfter },
    ...(revoked === undefined ? { state: 'issued' } : { state: 'revoked', reason: revoked.reason }),
  }
}
