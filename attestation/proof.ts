import { isEcdsaSignature } from '../core/ecdsa.ts'
import { ROOT_KEYS, type Hsm } from '../pkcs11/index.ts'
import type { KeyUse, Permit } from '../policies/permit.ts'
import { authenticationMessage } from './authentication.ts'
import { cardKey } from './card-key.ts'
import { type Challenge, type Method, randOf } from './challenge.ts'
import type { CardCertificate, CardHandle } from './known-card.ts'
import { seqOf } from './sqn.ts'

/** What a card answers a challenge: MAC 16 bytes, RES 8, AUTS 14 (TS 33.102 6.3.3), signature raw r||s of 64. */
export type CardAnswer =
  | { readonly method: 'cmac'; readonly mac: Uint8Array }
  | { readonly method: 'milenage'; readonly res: Uint8Array }
  | { readonly method: 'milenage'; readonly auts: Uint8Array }
  | { readonly method: 'signature'; readonly signature: Uint8Array }

export type CertificateReason = 'certificate-missing' | 'certificate-revoked' | 'certificate-expired'
export type ProofReason = 'mac-wrong' | 'res-wrong' | 'auts-wrong' | 'signature-wrong' | CertificateReason

/** `resynchronised`: AUTS is right, and `seq` is what the card has seen. */
export type Proof =
  | { readonly verdict: 'authenticated' }
  | { readonly verdict: 'refused'; readonly reason: ProofReason }
  | { readonly verdict: 'resynchronised'; readonly seq: number }

/** The keys that a proof takes: the card's, and the one that signs results. */
export function usesOf(method: Method, { ki, operatorKey, master }: CardHandle): readonly KeyUse[] {
  const sign: KeyUse = { action: 'sign', keyId: ROOT_KEYS.result }
  if (method === 'cmac') return [{ action: 'derive', keyId: master.id }, sign]
  if (method !== 'milenage') return [sign]
  return [{ action: 'authenticate', keyId: ki.id }, { action: 'unwrap', keyId: operatorKey.id }, sign]
}

/** Whether the answer is the card's. A card that is not known takes the same work, and its answer is wrong. */
export async function prove(
  { hsm, now }: { readonly hsm: Hsm; readonly now: () => Date },
  permit: Permit,
  { card, challenge, answer }: { readonly card: CardHandle; readonly challenge: Challenge; readonly answer: CardAnswer },
): Promise<Proof> {
  const message = authenticationMessage({ iccid: challenge.iccid, nonce: challenge.nonce, verifier: challenge.caller })
  if (answer.method === 'cmac') {
    const { master, authType: type, efIccid: kdd } = card
    const [right] = await hsm.checkCardMacs(permit, { master, type, items: [{ kdd, message, mac: answer.mac }] })
    return right === true && card.isKnown ? { verdict: 'authenticated' } : refused('mac-wrong')
  }
  if (answer.method === 'signature') {
    const reason = await signatureReason({ hsm, at: now(), card, message, signature: answer.signature })
    return reason === undefined ? { verdict: 'authenticated' } : refused(reason === 'wrong' ? 'signature-wrong' : reason)
  }
  const { ki, operatorKey } = card
  const verdict = await hsm.milenageAnswer(permit, { ki, operatorKey, rand: randOf(challenge), answer })
  if (verdict.kind === 'res') return verdict.right && card.isKnown ? { verdict: 'authenticated' } : refused('res-wrong')
  return verdict.sqn !== undefined && card.isKnown ? { verdict: 'resynchronised', seq: seqOf(verdict.sqn) } : refused('auts-wrong')
}

const refused = (reason: ProofReason): Proof => ({ verdict: 'refused', reason })

/**
 * Why a signature of the card's key does not count; undefined where it does. That a certificate is revoked or over is said only to who has its key.
 * Without a certificate the key that signs results stands in for it: the same work, and it never signs what a card does.
 */
export async function signatureReason({
  hsm,
  at,
  card,
  message,
  signature,
}: {
  readonly hsm: Pick<Hsm, 'rootPublicKey'>
  readonly at: Date
  readonly card: CardHandle
  readonly message: Uint8Array
  /** Raw r||s, 64 bytes. */
  readonly signature: Uint8Array
}): Promise<'wrong' | CertificateReason | undefined> {
  const { certificate } = card
  const isRight = await isEcdsaSignature(await cardKey(certificate?.spki ?? hsm.rootPublicKey(ROOT_KEYS.result)), message, signature)
  if (certificate === undefined) return 'certificate-missing'
  return isRight ? certificateReason(certificate, at) : 'wrong'
}

function certificateReason({ state, notBefore, notAfter }: CardCertificate, at: Date): CertificateReason | undefined {
  if (state === 'revoked') return 'certificate-revoked'
  return at < notBefore || at > notAfter ? 'certificate-expired' : undefined
}
