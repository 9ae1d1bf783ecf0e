import type { Hsm } from '../pkcs11/index.ts'
import { equalBytes } from '../core/bytes.ts'
import type { Pair, Standing } from './binding.ts'
import type { Challenge } from './challenge.ts'
import { type EvidenceClaims, ueidOf } from './evidence.ts'
import type { CardHandle } from './known-card.ts'
import { type CertificateReason, signatureReason } from './proof.ts'

/** Evidence as it was read: nothing of it is verified. */
export interface Evidence {
  /** As it came. */
  readonly bytes: Uint8Array
  readonly claims: EvidenceClaims
  /** COSE Sig_structure (RFC 9052 4.4). */
  readonly toBeSigned: Uint8Array
  /** Raw r||s, 64 bytes. */
  readonly signature: Uint8Array
}

export type EvidenceReason = 'evidence-signature' | 'evidence-ueid' | 'evidence-time' | CertificateReason
export type BindingReason = 'binding-missing' | 'binding-conflict' | 'binding-contradicted'

/** How far the clock of who makes evidence may be off. */
const CLOCK_MS = 60_000

/** Why the evidence is not the card's; empty where it is. What is said beside `evidence-signature` would be of unproved claims, so nothing is. */
export async function appraise(
  { hsm, now }: { readonly hsm: Hsm; readonly now: () => Date },
  { evidence, challenge, card }: { readonly evidence: Evidence; readonly challenge: Challenge; readonly card: CardHandle },
): Promise<readonly EvidenceReason[]> {
  const { claims, toBeSigned: message, signature } = evidence
  const why = await signatureReason({ hsm, at: now(), card, message, signature })
  if (why === 'wrong') return ['evidence-signature']
  if (why === 'certificate-missing' || card.certificate === undefined) return ['certificate-missing']
  const [madeAt, from, until] = [claims.issuedAt * 1000, challenge.issuedAt.getTime() - CLOCK_MS, challenge.expiresAt.getTime() + CLOCK_MS]
  return [
    ...(why === undefined ? [] : [why]),
    ...(equalBytes(claims.ueid, ueidOf({ spki: card.certificate.spki, efIccid: card.efIccid })) ? [] : (['evidence-ueid'] as const)),
    // It has whole seconds.
    ...(madeAt + 999 >= from && madeAt <= until ? [] : (['evidence-time'] as const)),
  ]
}

export const pairOf = ({ iccid }: Challenge, { claims: { imei, udid } }: Evidence): Pair => ({ iccid, imei, ...(udid === undefined ? {} : { udid }) })

/** Trustworthiness claims (AR4SI 2.3): 2 affirming, 32 warning, 96 contraindicated. 97, for who is not recognised, would tell which cards exist. */
export interface Vector {
  readonly 'instance-identity': 2 | 96
  readonly configuration?: 2 | 32 | 96
}

/** What the bindings say, where the evidence is the card's. */
export function judge(standing: Standing): { readonly configuration: 2 | 32 | 96; readonly reasons: readonly BindingReason[] } {
  if (standing.kind === 'free') return { configuration: 32, reasons: ['binding-missing'] }
  if (standing.kind === 'contradicted') return { configuration: 96, reasons: ['binding-contradicted'] }
  return standing.binding.state === 'bound' ? { configuration: 2, reasons: [] } : { configuration: 32, reasons: ['binding-conflict'] }
}

export type BindingState = 'unbound' | 'bound' | 'conflict' | 'contradicted'
export function stateOf(standing: Standing): BindingState {
  if (standing.kind === 'same') return standing.binding.state
  return standing.kind === 'free' ? 'unbound' : 'contradicted'
}
