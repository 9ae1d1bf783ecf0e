import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { base64, base64url, fromBase64url, utf8 } from '../../core/bytes.ts'
import { verifyResult } from '../../attestation/result.ts'
import type { SimulatedCard } from '../simulated-card.ts'
import type { Participant } from '../site.ts'
import type { Story } from './story.ts'

/** What the steps with cards share. */
interface CardsOfDemo {
  readonly story: Story
  readonly module: Participant
  /** Four at least. */
  readonly cards: readonly SimulatedCard[]
}

interface CardChallenge {
  readonly challengeId: string
  readonly nonce: string
  readonly verifier: string
  readonly rand?: string
  readonly autn?: string
}
interface CardVerdict {
  readonly verdict: string
  readonly reason?: string
  readonly result?: string
}
const ATTESTATION = '/v1/attestation'
const bytes = (text: string | undefined): Uint8Array => fromBase64url(text ?? '')

const challengeCard = (module: Participant, { iccid }: SimulatedCard, method: string): Promise<CardChallenge> =>
  module.client.post<CardChallenge>(`${ATTESTATION}/cards/${iccid}/challenge`, { method })

/** What the vendor opened is put into simulated cards: each proves itself in its own way, and a wrong answer burns its challenge. */
export async function authenticateCards({ story, module, cards }: CardsOfDemo): Promise<void> {
  const [usim, cmac, signer, other] = cards
  if (usim === undefined || cmac === undefined || signer === undefined || other === undefined) throw new Error('four cards were to be there')
  const answer = (card: SimulatedCard, body: object): Promise<CardVerdict> => module.client.post<CardVerdict>(`${ATTESTATION}/cards/${card.iccid}/answer`, body)
  const expectVerdict = ({ verdict, reason }: CardVerdict, wanted: string): string => {
    if (verdict !== wanted) throw new Error(`the card was ${verdict} (${reason ?? 'no reason'}), not ${wanted}`)
    return reason ?? verdict
  }
  const milenage = async (): Promise<CardVerdict> => {
    const { challengeId, rand, autn } = await challengeCard(module, usim, 'milenage')
    const found = usim.authenticate(bytes(rand), bytes(autn))
    if (found.kind === 'mac-failure') throw new Error('the card did not accept the service')
    return answer(usim, found.kind === 'res' ? { challengeId, res: base64url(found.res) } : { challengeId, auts: base64url(found.auts) })
  }
  await story.step('A card and the service authenticate each other by Milenage; Ki stays in the HSM', milenage, (found) =>
    expectVerdict(found, 'authenticated'),
  )
  await story.step(
    '... its SQN is moved ahead: it answers AUTS, the service follows, and the next challenge is accepted',
    async () => {
      usim.moveAhead(5000n, 29n)
      expectVerdict(await milenage(), 'resynchronised')
      return milenage()
    },
    (found) => expectVerdict(found, 'authenticated'),
  )
  const byCmac = await challengeCard(module, cmac, 'cmac')
  const mac = base64url(await cmac.mac({ nonce: bytes(byCmac.nonce), verifier: byCmac.verifier }))
  await story.step(
    'A card authenticates by CMAC',
    () => answer(cmac, { challengeId: byCmac.challengeId, mac }),
    (found) => expectVerdict(found, 'authenticated'),
  )
  await story.refused('the same answer, once more', 409, () => answer(cmac, { challengeId: byCmac.challengeId, mac }))
  await story.step(
    'A card authenticates by the key of its certificate, and another card’s signature is refused',
    async () => {
      const first = await challengeCard(module, signer, 'signature')
      expectVerdict(
        await answer(signer, { challengeId: first.challengeId, signature: base64url(signer.sign({ ...first, nonce: bytes(first.nonce) })) }),
        'authenticated',
      )
      const second = await challengeCard(module, signer, 'signature')
      return answer(signer, { challengeId: second.challengeId, signature: base64url(other.sign({ ...second, nonce: bytes(second.nonce) })) })
    },
    (found) => expectVerdict(found, 'refused'),
  )
}

const METER = { imei: '26053179311383', udid: '0198f2c1-7a40-7c3e-9d52-6a1f0b2c3d4e' }
const OTHER_METER = { imei: '49015420323751', udid: '0198f2c1-7a40-7c3e-9d52-6a1f0b2c3d4f' }

/** A card binds itself to its meter by evidence; its clone in another meter is caught; what the module got is verified without the service. */
export async function bindCards({
  story,
  module,
  cards,
  folder,
  plainUrl,
}: CardsOfDemo & { readonly folder: string; readonly plainUrl: string }): Promise<void> {
  const card = cards[2]
  if (card === undefined) throw new Error('a card was to be there')
  const bind = async (device: { imei: string; udid: string }): Promise<CardVerdict & { reasons?: string[]; nonce: string }> => {
    const { nonce } = await challengeCard(module, card, 'evidence')
    const evidence = card.evidence({ nonce: bytes(nonce), issuedAt: Math.floor(Date.now() / 1000), ...device })
    return {
      ...(await module.client.post<CardVerdict & { reasons?: string[] }>(`${ATTESTATION}/bindings`, { evidence: base64(evidence) })),
      nonce,
    }
  }
  const bound = await story.step(
    'A card binds itself to its meter by evidence that it signed (EAT in COSE)',
    () => bind(METER),
    ({ verdict }) => verdict,
  )
  if (bound.verdict !== 'bound') throw new Error(`the card was not bound: ${JSON.stringify(bound)}`)
  const clone = await story.step(
    'The same card, cloned, claims another meter: both claims are kept, and neither counts',
    () => bind(OTHER_METER),
    ({ verdict, reasons }) => `${verdict} ${reasons?.join(', ') ?? ''}`,
  )
  if (clone.verdict !== 'conflict') throw new Error(`the clone was not caught: ${JSON.stringify(clone)}`)
  await story.step(
    'The result of the binding is verified offline, with the service’s public keys alone',
    async () => {
      const keySet: unknown = await (await fetch(`${plainUrl}/.well-known/jwks.json`)).json()
      writeFileSync(join(folder, 'jwks.json'), JSON.stringify(keySet, null, 2))
      writeFileSync(join(folder, 'binding.jwt'), bound.result ?? '')
      const report = verifyResult({ token: bound.result ?? '', keySet, at: new Date(), nonce: bytes(bound.nonce) })
      if (!report.ok) throw new Error(report.reason)
      const [head, body, signature] = (bound.result ?? '').split('.')
      const forged = [head, base64url(utf8(Buffer.from(bytes(body)).toString('utf8').replace(METER.imei, OTHER_METER.imei))), signature].join('.')
      if (verifyResult({ token: forged, keySet, at: new Date() }).ok) throw new Error('a changed result was accepted')
      return report
    },
    ({ status }) => `${status}; a changed one is refused`,
  )
}
