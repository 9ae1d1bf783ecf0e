import { frame, hex, sha256, utf8 } from '../../core/bytes.ts'
import { Problem } from '../../core/problem.ts'
import type { Row } from '../../core/row.ts'

/** That a policy was put to work. The highest number counts: see {@link inForce}. */
export interface Activation {
  /** From 1, without gaps. */
  readonly number: number
  /** As decisions and entries name it: {@link revisionOf} the text. */
  readonly revision: string
  readonly text: string
  readonly reason: string
  /** The activation that a trial falls back to; absent where there is none. */
  readonly returnsTo?: number
  /** URN. */
  readonly activatedBy: string
  readonly activatedAt: Date
  /** A trial is over then, unless it was confirmed. */
  readonly confirmBy?: Date
  readonly state: 'trial' | 'confirmed' | 'rolled-back'
  /** URN of who confirmed it or rolled it back. */
  readonly endedBy?: string
  /** By the token's policy key, raw r||s, over {@link activationMessage}. */
  readonly signature: Uint8Array
  readonly version: number
}

/** SHA-256 of the text, hex, first 16 digits. */
export const revisionOf = (text: string): string => hex(sha256(utf8(text))).slice(0, 16)

/** What the policy key signs: which text has which number. */
export const activationMessage = ({ number, text }: Pick<Activation, 'number' | 'text'>): Uint8Array =>
  frame(['gridseal-policy-v1', String(number), sha256(utf8(text))])

export const activationRow = (a: Activation): Row => ({
  table: 'policy_activations',
  schema: 1,
  id: String(a.number),
  version: a.version,
  columns: {
    revision: a.revision,
    text_sha256: sha256(utf8(a.text)),
    reason: a.reason,
    returns_to: a.returnsTo,
    activated_by: a.activatedBy,
    activated_at: a.activatedAt.toISOString(),
    confirm_by: a.confirmBy?.toISOString(),
    state: a.state,
    ended_by: a.endedBy,
    signature: a.signature,
  },
})

/** Whether a trial ran out: from then on what it returns to counts, on every node, whether or not anybody wrote that down. */
export const hasRunOut = ({ state, confirmBy }: Activation, now: Date): boolean => state === 'trial' && confirmBy !== undefined && now >= confirmBy

/** Why a trial cannot be confirmed or rolled back. */
export function obstacleToEnding(activation: Activation | undefined, latest: number, now: Date): Problem | undefined {
  if (activation === undefined) return new Problem('not-found', 'There is no activation of that number.')
  if (activation.number !== latest || activation.state !== 'trial')
    return new Problem('conflict', `It is no trial: it is ${activation.state}, and ${String(latest)} is the latest.`)
  return hasRunOut(activation, now) ? new Problem('conflict', 'The trial was not confirmed in time, and is over.') : undefined
}
