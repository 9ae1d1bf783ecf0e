import { generateKeyPairSync, type KeyObject, randomBytes, randomUUID, sign } from 'node:crypto'
import { base64, base64url, fromBase64url } from '../../core/bytes.ts'
import type { CardFacts } from '../../core/card-facts.ts'
import { encodeEfIccid, luhnDigit } from '../../core/iccid.ts'
import { keyId } from '../../core/ids.ts'
import type { Row } from '../../core/row.ts'
import { authenticationMessage } from '../authentication.ts'
import { evidenceToSign, ueidOf } from '../evidence.ts'
import type { CardCertificate, CardSource, CardStanding, KnownCard } from '../known-card.ts'
import { OUR_IND, seqOf } from '../sqn.ts'
import { autsOf, cmac, kdf3, milenage, opcOf, readAutn } from './milenage.ts'
import type { softHsm } from './soft-hsm.ts'

const AUTH_TYPE = 0x41

export interface ChallengeAnswer {
  readonly challengeId: string
  readonly nonce: string
  readonly verifier: string
  readonly method: string
  readonly expiresAt: string
  readonly rand?: string
  readonly autn?: string
}

/** What a card knows and does. */
export class TestCard {
  readonly iccid: string
  readonly ki: Uint8Array
  readonly opc: Uint8Array
  readonly authKey: Uint8Array
  readonly privateKey: KeyObject
  readonly spki: Uint8Array
  /** SEQ that the card has accepted last. */
  seq = 0
  /** What the service has of it. */
  known: KnownCard | undefined

  constructor(iccid: string, { ki, opc, authKey }: { readonly ki: Uint8Array; readonly opc: Uint8Array; readonly authKey: Uint8Array }) {
    const pair = generateKeyPairSync('ec', { namedCurve: 'P-256' })
    this.iccid = iccid
    this.ki = ki
    this.opc = opc
    this.authKey = authKey
    this.privateKey = pair.privateKey
    this.spki = pair.publicKey.export({ format: 'der', type: 'spki' })
  }

  mac(c: ChallengeAnswer): { mac: string } {
    return { mac: base64url(cmac(this.authKey, this.#message(c))) }
  }

  signature(c: ChallengeAnswer): { signature: string } {
    return { signature: base64url(this.sign(this.#message(c))) }
  }

  /** RES, or AUTS where the card has seen this SEQ. Throws where MAC-A is wrong. */
  milenage(c: ChallengeAnswer): { res: string } | { auts: string } {
    const [rand, autn] = [fromBase64url(c.rand ?? ''), fromBase64url(c.autn ?? '')]
    const sqn = readAutn(this, rand, autn)
    if (sqn === undefined) throw new Error('MAC-A is wrong')
    if (((sqn[5] ?? 0) & 31) !== OUR_IND) throw new Error('not our IND')
    if (seqOf(sqn) <= this.seq) return { auts: base64url(autsOf(this, rand, sqnBytes(this.seq))) }
    this.seq = seqOf(sqn)
    return { res: base64url(milenage(this, rand).res) }
  }

  /** Evidence that it sits in a device, base64. */
  evidence(
    c: ChallengeAnswer,
    device: { readonly imei: string; readonly udid?: string },
    more: { readonly issuedAt?: number; readonly ueid?: Uint8Array; readonly signature?: Uint8Array } = {},
  ): { evidence: string } {
    const { toBeSigned, assemble } = evidenceToSign({
      nonce: fromBase64url(c.nonce),
      issuedAt: more.issuedAt ?? Math.floor(Date.now() / 1000),
      ueid: more.ueid ?? ueidOf({ spki: this.spki, efIccid: encodeEfIccid(this.iccid) }),
      ...device,
    })
    return { evidence: base64(assemble(more.signature ?? this.sign(toBeSigned))) }
  }

  sign(message: Uint8Array): Uint8Array {
    return sign('sha256', message, { key: this.privateKey, dsaEncoding: 'ieee-p1363' })
  }

  #message(c: ChallengeAnswer): Uint8Array {
    return authenticationMessage({ iccid: this.iccid, nonce: fromBase64url(c.nonce), verifier: c.verifier })
  }
}

/** SQN of a SEQ in another IND, as an operator's authentication centre would have made it: 6 bytes. */
function sqnBytes(seq: number): Uint8Array {
  const bytes = Buffer.alloc(8)
  bytes.writeBigUInt64BE(BigInt(seq) * 32n + 3n)
  return bytes.subarray(2)
}

/** A world of cards: the service's source of them, and the cards themselves. */
export class TestCards implements CardSource {
  readonly #soft: ReturnType<typeof softHsm>
  readonly #cards = new Map<string, KnownCard>()
  readonly #op = randomBytes(16)
  readonly #master = randomBytes(16)
  readonly #parts: Pick<KnownCard, 'operatorKey' | 'master' | 'authType'>
  #count = 0

  constructor(soft: ReturnType<typeof softHsm>) {
    this.#soft = soft
    const [op, master] = [keyId('operator:test'), keyId('master:test')]
    soft.keys.set(op, this.#op).set(master, this.#master)
    this.#parts = { operatorKey: this.#stored(op), master: this.#stored(master), authType: AUTH_TYPE }
  }

  find(iccid: string): Promise<KnownCard | undefined> {
    return Promise.resolve(this.#cards.get(iccid))
  }

  findStanding(iccid: string): Promise<CardStanding | undefined> {
    return Promise.resolve(this.#cards.get(iccid)?.standing)
  }

  decoyParts(): ReturnType<CardSource['decoyParts']> {
    return Promise.resolve(this.#parts)
  }

  /** An ICCID that no card has yet. */
  iccid(): string {
    const body = `898600123456${String(this.#count++).padStart(7, '0')}`
    return body + luhnDigit(body)
  }

  /** A card with the keys that its ICCID would have, of which the service knows nothing. */
  unknown(): TestCard {
    const [iccid, ki] = [this.iccid(), randomBytes(16)]
    return new TestCard(iccid, { ki, opc: opcOf(ki, this.#op), authKey: kdf3(this.#master, AUTH_TYPE, encodeEfIccid(iccid)) })
  }

  /** A card that the service knows. `certificate: null`: it has none. */
  make(certificate: Partial<CardCertificate> | null = {}, facts: CardFacts = { region: '330106', cardState: 'delivered' }): TestCard {
    const card = this.unknown()
    const id = keyId(`ki:${randomUUID()}`)
    this.#soft.keys.set(id, card.ki)
    const times = { notBefore: new Date(Date.now() - 1000), notAfter: new Date(Date.now() + 86_400_000) }
    const ki = this.#stored(id)
    const known: KnownCard = {
      ...{ id, iccid: card.iccid, ki, ...this.#parts, standing: { facts, sealed: [ki.sealed, ki.sealed] } },
      ...(certificate === null ? {} : { certificate: { serial: '01', spki: card.spki, state: 'issued', ...times, ...certificate } }),
    }
    card.known = known
    this.#cards.set(card.iccid, known)
    return card
  }

  #stored(id: ReturnType<typeof keyId>): KnownCard['ki'] & KnownCard['master'] {
    const row: Row = { table: 'test', schema: 1, id, version: 1, columns: { algorithm: 'aes-128' } }
    return { id, sealed: { row, mac: this.#soft.macOf(row) } }
  }
}
