import { ApiClient } from '../clients/api.ts'
import { enrol, type Participant } from '../clients/site.ts'
import { SimulatedCard } from '../clients/simulated-card.ts'
import { openDelivery, type TransportKeyPackage } from '../clients/vendor-open.ts'
import { enrolVendor, submitOrder, waitForOrder } from '../clients/vendor.ts'
import { bareLoop } from '../pkcs11/bare-loop.ts'
import { type Report, type Result, result } from './report.ts'
import { type BenchSite, withSite } from './site.ts'

const CALLERS = 32
const CARDS_EACH = 4
const SECONDS = 3
const PATH = '/v1/attestation'

interface Challenge {
  readonly challengeId: string
  readonly nonce: string
  readonly verifier: string
  readonly rand?: string
  readonly autn?: string
}
type Prove = (module: Participant, card: SimulatedCard) => Promise<string>

const decode = (text: string | undefined): Buffer => Buffer.from(text ?? '', 'base64url')
const encode = (bytes: Uint8Array): string => Buffer.from(bytes).toString('base64url')
const challengeOf = (module: Participant, card: SimulatedCard, method: string): Promise<Challenge> =>
  module.client.post<Challenge>(`${PATH}/cards/${card.iccid}/challenge`, { method })
const answerTo = async (module: Participant, card: SimulatedCard, body: object): Promise<string> =>
  (await module.client.post<{ verdict: string }>(`${PATH}/cards/${card.iccid}/answer`, body)).verdict

/** Each takes a challenge, has the card answer it, and gets a signed result: two durable operations, four commits. */
const PROOFS: readonly (readonly [metric: string, wanted: string, prove: Prove])[] = [
  [
    'cmac',
    'authenticated',
    async (module, card) => {
      const { challengeId, nonce, verifier } = await challengeOf(module, card, 'cmac')
      return answerTo(module, card, { challengeId, mac: encode(await card.mac({ nonce: decode(nonce), verifier })) })
    },
  ],
  [
    'milenage',
    'authenticated',
    async (module, card) => {
      const { challengeId, rand, autn } = await challengeOf(module, card, 'milenage')
      const found = card.authenticate(decode(rand), decode(autn))
      return answerTo(module, card, { challengeId, res: encode(found.kind === 'res' ? found.res : new Uint8Array(8)) })
    },
  ],
  [
    'signature',
    'authenticated',
    async (module, card) => {
      const { challengeId, nonce, verifier } = await challengeOf(module, card, 'signature')
      return answerTo(module, card, { challengeId, signature: encode(card.sign({ nonce: decode(nonce), verifier })) })
    },
  ],
  [
    'evidence',
    'affirming',
    async (module, card) => {
      const { nonce } = await challengeOf(module, card, 'evidence')
      const evidence = card.evidence({ nonce: decode(nonce), issuedAt: Math.floor(Date.now() / 1000), imei: imeiOf(card) })
      const { result: token } = await module.client.post<{ result: string }>(`${PATH}/evidence`, { evidence: Buffer.from(evidence).toString('base64') })
      const claims = JSON.parse(decode(token.split('.')[1]).toString('utf8')) as { submods: { card: { ear_status: string } } }
      return claims.submods.card.ear_status
    },
  ],
]

/** A device of its own for each card. */
const imeiOf = ({ iccid }: SimulatedCard): string => `26053179${iccid.slice(-7, -1)}`

/** Proofs of cards over the API, each of 32 callers with cards of its own, beside the bare loop of one P-256 signature, which each result needs. */
export const benchAttest = (say: (line: string) => void): Promise<Report> =>
  withSite({}, async (site) => {
    const [alice] = site.officers
    if (alice === undefined) throw new Error('no officer')
    const place = { url: site.service.url, trust: site.trust }
    const enrolled = await enrol(alice, place, { kind: 'module', name: 'bench' })
    const module = { ...enrolled, client: new ApiClient({ ...place, certificate: enrolled.certificate, key: enrolled.key }, { maxSockets: CALLERS }) }
    say(`cards: an order of ${String(CALLERS * CARDS_EACH)}, opened and put into simulated cards ...`)
    const cards = await makeCards(site)
    for (const card of cards) await bindOnce(module, card)
    say('bare: C_Sign in a loop, one thread, on the same token ...')
    const limit = await bareLoop({ dataFolder: site.data, loop: 'sign', seconds: SECONDS })

    const results: Result[] = []
    const notes: string[] = []
    for (const [metric, wanted, prove] of PROOFS) {
      say(`${metric}: ${String(CALLERS)} callers ...`)
      const latencies = await load(module, cards, prove, wanted)
      const at = (share: number): number => latencies[Math.min(latencies.length - 1, Math.floor(latencies.length * share))] ?? 0
      results.push(result({ metric, value: latencies.length / SECONDS, unit: 'proofs/s', limit, ...(metric === 'evidence' ? { goal: 2000 } : {}) }))
      results.push(result({ metric: `p99 ${metric}`, value: at(0.99), unit: 'ms' }))
      notes.push(`${metric}: p50 ${at(0.5).toFixed(1)} ms, p99 ${at(0.99).toFixed(1)} ms for challenge, answer and signed result together`)
    }
    return { bench: 'attest', results, notes: [...notes, 'The simulated cards and the client share the cores with service, lane and PostgreSQL.'] }
  })

async function makeCards(site: BenchSite): Promise<readonly SimulatedCard[]> {
  const vendor = await enrolVendor({ site, name: 'bench-cards' })
  const orderId = await submitOrder(vendor, { start: { iccid: '89860099990000000005', imsi: '460009900000000' }, quantity: CALLERS * CARDS_EACH })
  await site.officers[0]?.client.post(`/v1/card-personalization/orders/${orderId}/approve`)
  await waitForOrder(vendor, orderId)
  const transportKey = await vendor.client.get<TransportKeyPackage>(`/v1/card-personalization/transport-keys/${vendor.transportKeyId}`)
  const file = [await vendor.client.download(`/v1/card-personalization/orders/${orderId}/delivery`)]
  const cards: SimulatedCard[] = []
  const report = await openDelivery({
    ...{ file, transportKey, privateKey: vendor.encryptionKey, trustedRoot: site.trust },
    onCard: (card) => void cards.push(new SimulatedCard(card)),
  })
  if (!report.ok) throw new Error(`the delivery does not check: ${JSON.stringify(report.problems)}`)
  return cards
}

async function bindOnce(module: Participant, card: SimulatedCard): Promise<void> {
  const { nonce } = await challengeOf(module, card, 'evidence')
  const evidence = card.evidence({ nonce: decode(nonce), issuedAt: Math.floor(Date.now() / 1000), imei: imeiOf(card) })
  const { verdict } = await module.client.post<{ verdict: string }>(`${PATH}/bindings`, { evidence: Buffer.from(evidence).toString('base64') })
  if (verdict !== 'bound') throw new Error(`a card was not bound: ${verdict}`)
}

/** Milliseconds of each proof, sorted. Any that does not end as wanted ends the bench. */
async function load(module: Participant, cards: readonly SimulatedCard[], prove: Prove, wanted: string): Promise<number[]> {
  const latencies: number[] = []
  const until = performance.now() + SECONDS * 1000
  const one = async (caller: number): Promise<void> => {
    for (let turn = 0; performance.now() < until; turn++) {
      const card = cards[caller * CARDS_EACH + (turn % CARDS_EACH)]
      if (card === undefined) throw new Error('no card')
      const started = performance.now()
      const found = await prove(module, card)
      if (found !== wanted) throw new Error(`a card was ${found}, not ${wanted}`)
      latencies.push(performance.now() - started)
    }
  }
  await Promise.all(Array.from({ length: CALLERS }, (_, caller) => one(caller)))
  return latencies.sort((a, b) => a - b)
}
