import { ApiClient } from '../clients/api.ts'
import { enrol, type Participant } from '../clients/site.ts'
import { SimulatedCard } from '../clients/simulated-card.ts'
import { openDelivery, type TransportKeyPackage } from '../clients/vendor-open.ts'
import { enrolVendor, submitOrder, waitForOrder } from '../clients/vendor.ts'
import { bareLoop } from '../pkcs11/bare-loop.ts'
import { type Report, type Result, result } from './report.ts'
import { type BenchSite, withSite } from './site.ts'

const CALLERS = 32
/** Cards of one caller, and of one batch. */
const CARDS_EACH = 64
const SECONDS = 5
const PATH = '/v1/attestation'

interface Challenge {
  readonly challengeId: string
  readonly nonce: string
  readonly verifier: string
  readonly rand?: string
  readonly autn?: string
}
/** Gives the verdict of each proof. */
type Prove = (module: Participant, cards: readonly SimulatedCard[]) => Promise<readonly string[]>

const decode = (text: string | undefined): Buffer => Buffer.from(text ?? '', 'base64url')
const encode = (bytes: Uint8Array): string => Buffer.from(bytes).toString('base64url')
const challengeOf = (module: Participant, card: SimulatedCard, method: string): Promise<Challenge> =>
  module.client.post<Challenge>(`${PATH}/cards/${card.iccid}/challenge`, { method })
const answerTo = async (module: Participant, card: SimulatedCard, body: object): Promise<string> =>
  (await module.client.post<{ verdict: string }>(`${PATH}/cards/${card.iccid}/answer`, body)).verdict

const proveOne =
  (prove: (module: Participant, card: SimulatedCard) => Promise<string>): Prove =>
  async (module, [card]) => {
    if (card === undefined) throw new Error('no card')
    return [await prove(module, card)]
  }

/** Each takes a challenge, has the card answer it, and gets a signed result: two durable operations, three or four commits, for one card or for a batch of them. */
const PROOFS: readonly { readonly metric: string; readonly wanted: string; readonly batch: number; readonly goal?: number; readonly prove: Prove }[] = [
  {
    metric: 'cmac',
    wanted: 'authenticated',
    batch: 1,
    prove: proveOne(async (module, card) => {
      const { challengeId, nonce, verifier } = await challengeOf(module, card, 'cmac')
      return answerTo(module, card, { challengeId, mac: encode(await card.mac({ nonce: decode(nonce), verifier })) })
    }),
  },
  {
    metric: 'milenage',
    wanted: 'authenticated',
    batch: 1,
    prove: proveOne(async (module, card) => {
      const { challengeId, rand, autn } = await challengeOf(module, card, 'milenage')
      const found = card.authenticate(decode(rand), decode(autn))
      return answerTo(module, card, { challengeId, res: encode(found.kind === 'res' ? found.res : new Uint8Array(8)) })
    }),
  },
  {
    metric: 'signature',
    wanted: 'authenticated',
    batch: 1,
    prove: proveOne(async (module, card) => {
      const { challengeId, nonce, verifier } = await challengeOf(module, card, 'signature')
      return answerTo(module, card, { challengeId, signature: encode(card.sign({ nonce: decode(nonce), verifier })) })
    }),
  },
  {
    metric: 'evidence',
    wanted: 'affirming',
    batch: 1,
    goal: 2000,
    prove: proveOne(async (module, card) => {
      const { nonce } = await challengeOf(module, card, 'evidence')
      const { result: token } = await module.client.post<{ result: string }>(`${PATH}/evidence`, { evidence: evidenceOf(card, nonce) })
      return statusOf(token)
    }),
  },
  {
    metric: `evidence in batches of ${String(CARDS_EACH)}`,
    wanted: 'affirming',
    batch: CARDS_EACH,
    goal: 2000,
    prove: async (module, cards) => {
      const evidence = await evidenceOfAll(module, cards)
      const { results } = await module.client.post<{ results: readonly { readonly result?: string }[] }>(`${PATH}/evidence/batch`, { evidence })
      return results.map(({ result: token }) => (token === undefined ? 'a problem' : statusOf(token)))
    },
  },
]

const evidenceOf = (card: SimulatedCard, nonce: string): string =>
  Buffer.from(card.evidence({ nonce: decode(nonce), issuedAt: Math.floor(Date.now() / 1000), imei: imeiOf(card) })).toString('base64')

async function evidenceOfAll(module: Participant, cards: readonly SimulatedCard[]): Promise<string[]> {
  const { challenges } = await module.client.post<{ challenges: readonly { readonly nonce: string }[] }>(`${PATH}/challenges`, {
    iccids: cards.map(({ iccid }) => iccid),
  })
  return cards.map((card, at) => evidenceOf(card, challenges[at]?.nonce ?? ''))
}

/** What the result says. */
function statusOf(token: string): string {
  const claims = JSON.parse(decode(token.split('.')[1]).toString('utf8')) as { submods: { card: { ear_status: string } } }
  return claims.submods.card.ear_status
}

/** A device of its own for each card. */
const imeiOf = ({ iccid }: SimulatedCard): string => `26053179${iccid.slice(-7, -1)}`

/** Proofs of cards over the API, each of 32 callers with cards of its own, beside the bare loop of one P-256 signature, which each result needs. */
export const benchAttest = (say: (line: string) => void): Promise<Report> =>
  withSite({}, async (site) => {
    const [alice, bob] = site.officers
    if (alice === undefined || bob === undefined) throw new Error('two officers are needed')
    const place = { url: site.service.url, trust: site.trust }
    const enrolled = await enrol(alice, place, { kind: 'module', name: 'bench', approver: bob })
    const module = { ...enrolled, client: new ApiClient({ ...place, certificate: enrolled.certificate, key: enrolled.key }, { maxSockets: CALLERS }) }
    say(`cards: an order of ${String(CALLERS * CARDS_EACH)}, opened and put into simulated cards ...`)
    const cards = await makeCards(site)
    say('each is bound to its device ...')
    await Promise.all(cardsByCaller(cards).map((own) => bindAll(module, own)))
    say('bare: C_Sign in a loop, one thread, on the same token ...')
    const limit = await bareLoop({ dataFolder: site.data, loop: 'sign', seconds: SECONDS })

    const results: Result[] = []
    const notes: string[] = []
    for (const { metric, wanted, batch, goal, prove } of PROOFS) {
      say(`${metric}: ${String(CALLERS)} callers ...`)
      const { latencies, elapsedMs } = await load(cardsByCaller(cards), batch, async (own) => {
        const wrong = (await prove(module, own)).find((found) => found !== wanted)
        if (wrong !== undefined) throw new Error(`a card was ${wrong}, not ${wanted}`)
      })
      const at = (share: number): number => latencies[Math.min(latencies.length - 1, Math.floor(latencies.length * share))] ?? 0
      const value = (latencies.length * batch * 1000) / elapsedMs
      results.push(result({ metric, value, unit: 'proofs/s', limit, ...(goal === undefined ? {} : { goal }) }))
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

async function bindAll(module: Participant, cards: readonly SimulatedCard[]): Promise<void> {
  for (const evidence of await evidenceOfAll(module, cards)) {
    const { verdict } = await module.client.post<{ verdict: string }>(`${PATH}/bindings`, { evidence })
    if (verdict !== 'bound') throw new Error(`a card was not bound: ${verdict}`)
  }
}

const cardsByCaller = (cards: readonly SimulatedCard[]): readonly (readonly SimulatedCard[])[] =>
  Array.from({ length: CALLERS }, (_, caller) => cards.slice(caller * CARDS_EACH, (caller + 1) * CARDS_EACH))

/** Every caller takes its next `batch` cards, turn after turn. Milliseconds of each turn, sorted, and until the last one that was begun in time had ended. */
async function load(
  cards: readonly (readonly SimulatedCard[])[],
  batch: number,
  turnOf: (cards: readonly SimulatedCard[]) => Promise<void>,
): Promise<{ readonly latencies: readonly number[]; readonly elapsedMs: number }> {
  const latencies: number[] = []
  const begun = performance.now()
  const one = async (own: readonly SimulatedCard[]): Promise<void> => {
    for (let at = 0; performance.now() < begun + SECONDS * 1000; at = (at + batch) % own.length) {
      const started = performance.now()
      await turnOf(own.slice(at, at + batch))
      latencies.push(performance.now() - started)
    }
  }
  await Promise.all(cards.map(one))
  return { latencies: latencies.sort((a, b) => a - b), elapsedMs: performance.now() - begun }
}
