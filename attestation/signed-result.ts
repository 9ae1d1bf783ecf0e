import { utf8 } from '../core/bytes.ts'
import { Problem } from '../core/problem.ts'
import { type Hsm, ROOT_KEYS } from '../pkcs11/index.ts'
import type { Permit } from '../policies/permit.ts'
import type { Vector } from './appraisal.ts'
import type { Challenge } from './challenge.ts'
import { ueidOf } from './evidence.ts'
import type { CardHandle } from './known-card.ts'
import { buildResult, compactResult, jwkOf, type ResultClaims, resultSigningInput } from './result.ts'

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

interface Signer {
  readonly hsm: Hsm
  readonly now: () => Date
  readonly build: string
}

/** sign ROOT_KEYS.result. The findings as signed results (EAR, JWT), in their order, by one call. A card's UEID stands in it only once the card has proved itself. */
export async function signResults({ hsm, now, build }: Signer, permit: Permit, findings: readonly Finding[]): Promise<string[]> {
  if (findings.length === 0) return []
  const [issuedAt, keyId] = [Math.floor(now().getTime() / 1000), keyIdOf(hsm.rootPublicKey(ROOT_KEYS.result))]
  const inputs = findings.map((finding) => resultSigningInput(claimsOf(finding, { issuedAt, build }), keyId))
  const signatures = await hsm.signWithRoot(permit, ROOT_KEYS.result, inputs.map(utf8))
  return inputs.map((input, at) => {
    const signature = signatures[at]
    if (signature === undefined) throw noSignature()
    return compactResult(input, signature)
  })
}

/** {@link signResults} of one. */
export async function signResult(signer: Signer, permit: Permit, finding: Finding): Promise<string> {
  const [token] = await signResults(signer, permit, [finding])
  if (token === undefined) throw noSignature()
  return token
}

const noSignature = (): Problem => new Problem('hsm-failed', 'The HSM gave no signature for a result.')

/** `issuedAt`: seconds since 1970. */
function claimsOf(
  { challenge, card, vector, reasons, binding }: Finding,
  { issuedAt, build }: { readonly issuedAt: number; readonly build: string },
): ResultClaims {
  const isProved = vector['instance-identity'] === 2 && card.certificate !== undefined
  return buildResult({
    ...{ issuedAt, expiresAt: issuedAt + RESULT_SECONDS, nonce: challenge.nonce, method: challenge.method, vector, reasons, build },
    ...(isProved ? { ueid: ueidOf({ spki: card.certificate.spki, efIccid: card.efIccid }) } : {}),
    ...(binding === undefined ? {} : { binding, level: 'L1' }),
  })
}

const keyIds = new WeakMap<Uint8Array, string>()
/** The `kid` of {@link jwkOf}, made once for each key. */
function keyIdOf(spki: Uint8Array): string {
  const kid = keyIds.get(spki) ?? jwkOf(spki).kid
  keyIds.set(spki, kid)
  return kid
}
