import type { CardFacts } from '../core/card-facts.ts'
import { encodeEfIccid } from '../core/iccid.ts'
import type { KeyId } from '../core/ids.ts'
import { hex, sha256, utf8 } from '../core/bytes.ts'
import { Problem } from '../core/problem.ts'
import type { RowSealer, SealedRow } from '../core/row.ts'
import type { CardMaster, StoredKey } from '../pkcs11/index.ts'
import type { DecoyStore } from './decoy-store.ts'

/** A card of card-personalization/, as far as it is proved here. */
export interface KnownCard {
  /** Of the card's row, which is its Ki's row. */
  readonly id: KeyId
  readonly iccid: string
  /** The lane checks its row's MAC when it is used. */
  readonly ki: StoredKey
  /** OP (TS 35.206). */
  readonly operatorKey: StoredKey
  readonly master: CardMaster
  /** Derivation type (KDF3) of the authentication key. */
  readonly authType: number
  readonly certificate?: CardCertificate
  readonly standing: CardStanding
}

/** Where a card belongs and how far it is, as its rows say. */
export interface CardStanding {
  readonly facts: CardFacts
  /** The rows that the facts are from: two, whose MACs are not checked yet. */
  readonly sealed: readonly [SealedRow, SealedRow]
}

/** The certificate of a card's key. Its row's MAC was checked. */
export interface CardCertificate {
  /** Hex. */
  readonly serial: string
  /** DER, P-256. */
  readonly spki: Uint8Array
  readonly state: 'issued' | 'revoked'
  readonly notBefore: Date
  readonly notAfter: Date
}

/** Where cards come from: main.ts hands it in. */
export interface CardSource {
  find(iccid: string): Promise<KnownCard | undefined>
  /** The same without keys and certificate. Reads of one turn are shared. */
  findStanding(iccid: string): Promise<CardStanding | undefined>
  /** What an unknown card is handled with, so that it takes the same work. */
  decoyParts(): Promise<Pick<KnownCard, 'operatorKey' | 'master' | 'authType'> | undefined>
}

/** What a card is handled with, known or not. INVARIANT: all work goes by this, so that neither an answer nor its time tells whether a card exists. */
export interface CardHandle {
  readonly isKnown: boolean
  /** Whose sequence number it uses: see `attestation_sqn`. */
  readonly sequenceId: string
  /** EF.ICCID, 10 bytes: diversification data of the card's keys. */
  readonly efIccid: Uint8Array
  readonly ki: StoredKey
  readonly operatorKey: StoredKey
  readonly master: CardMaster
  readonly authType: number
  readonly certificate: CardCertificate | undefined
  /** What policies see of it: nothing of one that is not known. */
  readonly facts: CardFacts
}

/** Where cards are looked for. */
export interface CardDeps {
  readonly cards: CardSource
  readonly decoys: Pick<DecoyStore, 'find'>
  /** Checks the rows of a card. It remembers none: the first look at a card would take longer than the next, and than one at a card that is not known. */
  readonly cardRows: Pick<RowSealer, 'assertRows'>
}

/** What policies see of cards, in their order; the same reads and checks whether they are known or not. Throws `integrity-failed` where a row was edited. */
export async function findCardFacts({ cards, decoys, cardRows }: CardDeps, iccids: readonly string[]): Promise<readonly CardFacts[]> {
  const [standings, decoy] = await Promise.all([Promise.all(iccids.map((iccid) => cards.findStanding(iccid))), decoys.find()])
  await cardRows.assertRows(standings.flatMap((standing) => rowsOf(standing, decoy)))
  return standings.map((standing) => standing?.facts ?? {})
}

/** Two rows: the card's own, or the decoy's in their place. */
const rowsOf = (standing: CardStanding | undefined, decoy: StoredKey | undefined): readonly SealedRow[] =>
  standing?.sealed ?? (decoy === undefined ? [] : [decoy.sealed, decoy.sealed])

/** The same reads and checks for each card: the card, the decoy and its parts. Throws `conflict` while no card can exist, `integrity-failed` where a row was edited. */
export async function findCard({ cards, decoys, cardRows }: CardDeps, iccid: string): Promise<CardHandle> {
  const [card, parts, decoy] = await Promise.all([cards.find(iccid), cards.decoyParts(), decoys.find()])
  if (parts === undefined || decoy === undefined) throw new Problem('conflict', 'The service has no card profile yet, so there are no cards.')
  await cardRows.assertRows(rowsOf(card?.standing, decoy))
  const stranger = { ...parts, ki: decoy, certificate: undefined }
  const { ki, operatorKey, master, authType, certificate } = card ?? stranger
  const sequenceId = card?.id ?? decoySequenceId(decoy.id, iccid)
  return {
    isKnown: card !== undefined,
    sequenceId,
    efIccid: encodeEfIccid(iccid),
    ki,
    operatorKey,
    master,
    authType,
    certificate,
    facts: card?.standing.facts ?? {},
  }
}

/** Unknown cards share 4096 sequence numbers: enough not to be in each other's way, which would tell them from known ones, and no more rows than that. */
const decoySequenceId = (decoy: KeyId, iccid: string): string => `${decoy}:${hex(sha256(utf8(`${decoy}:${iccid}`))).slice(0, 3)}`
