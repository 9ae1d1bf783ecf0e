import { randomInt, randomUUID } from 'node:crypto'
import type { Caller } from '../../policies/caller.ts'
import { alice, type Attester, bob, terminal } from './attester.ts'
import type { TestCard } from './cards.ts'

export interface Device {
  /** 14 digits. */
  readonly imei: string
  readonly udid?: string
}

export const makeDevice = (withUdid = true): Device => ({
  imei: `35${String(randomInt(1e12)).padStart(12, '0')}`,
  ...(withUdid ? { udid: randomUUID() } : {}),
})

export interface BindAnswer {
  readonly verdict: string
  readonly reasons: readonly string[]
  readonly binding?: { readonly bindingId: string; readonly state: string; readonly from: string; readonly lastProvedAt: string }
  readonly result: string
}

/** Challenge, evidence and bind. */
export async function bindCard(attester: Attester, card: TestCard, device: Device, caller: Caller = terminal): Promise<BindAnswer> {
  const challenge = await attester.challenge(card.iccid, 'evidence', caller)
  return attester.call(caller, 'binding.bind', card.evidence(challenge, device))
}

export interface AppraisalAnswer {
  readonly verdict: string
  readonly reasons: readonly string[]
  readonly imei: string
  readonly binding: string
  readonly result: string
}

export async function appraiseCard(
  attester: Attester,
  card: TestCard,
  device: Device,
  more: Parameters<TestCard['evidence']>[2] = {},
): Promise<AppraisalAnswer> {
  const challenge = await attester.challenge(card.iccid, 'evidence')
  return attester.call(terminal, 'evidence.appraise', card.evidence(challenge, device, more))
}

/** Alice asks, Bob approves. */
export async function unbindCard(attester: Attester, iccid: string): Promise<unknown> {
  const { requestId } = await attester.call<{ requestId: string }>(alice, 'binding.unbind', { iccid, reason: 'meter replaced' })
  return attester.call(bob, 'binding.approve-unbind', { requestId })
}
