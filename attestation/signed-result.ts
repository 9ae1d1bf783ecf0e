import { utf8 } from '../core/bytes.ts'
import { Problem } from '../core/problem.ts'
import { type Hsm, ROOT_KEYS } from '../pkcs11/index.ts'
import type { Permit } from '../policies/permit.ts'
import type { Vector } from './appraisal.ts'
import type { Challenge } from './challenge.ts'
import { ueidOf } from './evidence.ts'
import type { CardHandle } from './known-card.ts'
import { buildResult, compactResult, jwkOf, resultSigningInput } from './result.ts'

/** How long a result is believed. */
const RESULT_SECONDS = 300

export interface Finding {
  readonly challenge: Challenge
  readonly card: CardHandle
  readonly vector: Vector
  /** As the caller hears them. */
  readonly reasons: readonly string[]
  /** Of evidence that is the card's: the device that it names, and how that stands to what is bound. */
  readonly binding?: { readonly state: string; readonly imei: string; readonly udid?: string }
}

/** sign ROOT_KEYS.result. The finding as a signed result (EAR, JWT). The card's UEID stands in it only once the card has proved itself. */
export async function signResult(
  { hsm, now, build }: { readonly hsm: Hsm; readonly now: () => Date; readonly build: string },
  permit: Permit,
  { challenge, card, vector, reasons, binding }: Finding,
): Promise<string> {
  const issuedAt = Math.floor(now().getTime() / 1000)
  const isProved = vector['instance-identity'] === 2 && card.certificate !== undefined
  const claims = buildResult({
    ...{ issuedAt, expiresAt: issuedAt + RESULT_SECONDS, nonce: challenge.nonce, method: challenge.method, vector, reasons, build },
    ...(isProved ? { ueid: ueidOf({ spki: card.certificate.spki, efIccid: card.efIccid }) } : {}),
    ...(binding === undefined ? {} : { binding, level: 'L1' }),
  })
  const input = resultSigningInput(claims, keyIdOf(hsm.rootPublicKey(ROOT_KEYS.result)))
  const [signature] = await hsm.signWithRoot(permit, ROOT_KEYS.result, [utf8(input)])
  if (signature === undefined) throw new Problem('hsm-failed', 'The HSM gave no signature for a result.')
  return compactResult(input, signature)
}

const keyIds = new WeakMap<Uint8Array, string>()
/** The `kid` of {@link jwkOf}, made once for each key. */
function keyIdOf(spki: Uint8Array): string {
  const kid = keyIds.get(spki) ?? jwkOf(spki).kid
  keyIds.set(spki, kid)
  return kid
}
