import type { KeyId } from '../core/ids.ts'
import { Problem } from '../core/problem.ts'
import type { Row } from '../core/row.ts'
import {
  type Generation,
  type GenerationsInUse,
  generationId,
  parseGeneration,
  ROTATED_KEY_NAMES,
  type RotatedKey,
  type SecretIdentity,
} from './root-key-generations.ts'
import type { TokenIdentity } from './root-keys.ts'

/**
 * `current`: new things are made with it. `older`: it opens and checks what is under it. `closing`: nothing is under it, nobody uses it, and it is about to be
 * destroyed, or is already. `retired`: it was destroyed.
 */
export type GenerationState = 'current' | 'older' | 'closing' | 'retired'

/** A generation as the database remembers it. A key that was never rotated has none: its first is in `root_keys`, and current. */
export interface RecordedGeneration {
  readonly identity: SecretIdentity
  readonly state: GenerationState
  /** The rotation that it came with, or, of the first, that it was replaced by. */
  readonly rotationId: string
  /** Grows by one with each state. */
  readonly version: number
}

export interface SealedGeneration {
  readonly record: RecordedGeneration
  readonly mac: Uint8Array
}

export const generationRow = ({ identity, state, rotationId, version }: RecordedGeneration): Row => ({
  table: 'root_key_generations',
  schema: 1,
  id: identity.keyId,
  version,
  columns: { state, kcv_method: identity.kcv.method, kcv: identity.kcv.value, rotation_id: rotationId },
})

export const generationOf = ({ identity }: RecordedGeneration): Generation => {
  const generation = parseGeneration(identity.keyId)
  if (generation === undefined)
    throw new Problem('integrity-failed', `The key ${identity.keyId} has no generations. Rows of root_key_generations were changed.`)
  return generation
}

/** What is recorded of one key, the newest last. */
export const generationsOf = (records: readonly RecordedGeneration[], key: RotatedKey): RecordedGeneration[] =>
  records.filter((record) => generationOf(record).key === key).sort((a, b) => generationOf(a).number - generationOf(b).number)

/** How often anything recorded of generations has changed: rows are only added, and their versions only grow. */
export const numberOf = (records: readonly RecordedGeneration[]): number => records.reduce((sum, { version }) => sum + version, 0)

/** The generations to work with. Throws `integrity-failed` where a key has not exactly one that is current, or where the token has none of a key. */
export function generationsInUse(records: readonly RecordedGeneration[], identity: TokenIdentity): GenerationsInUse {
  const keys = ROTATED_KEY_NAMES.flatMap((key): GenerationsInUse['keys'] => {
    const recorded = generationsOf(records, key)
    if (recorded.length === 0) return [{ identity: firstOf(key, identity), isCurrent: true }]
    if (recorded.filter(({ state }) => state === 'current').length !== 1)
      throw new Problem('integrity-failed', `Not exactly one generation of ${key} is recorded as current: rows of root_key_generations were changed.`)
    return recorded.flatMap((one) => (one.state === 'current' || one.state === 'older' ? [{ identity: one.identity, isCurrent: one.state === 'current' }] : []))
  })
  return { number: numberOf(records), keys }
}

/** The first generation of a key, from what the token was found to be. */
export function firstOf(key: RotatedKey, identity: Pick<TokenIdentity, 'keys'>): SecretIdentity {
  const id: KeyId = generationId({ key, number: 1 })
  const found = identity.keys.find(({ keyId }) => keyId === id)
  if (found === undefined || found.algorithm !== 'aes-256')
    throw new Problem('integrity-failed', `The token has no ${id}, and no other generation of it is recorded.`)
  return found
}
