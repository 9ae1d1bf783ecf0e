import type { Handle } from 'pkcs11js'
import { equalBytes, frame } from '../core/bytes.ts'
import type { KeyId } from '../core/ids.ts'
import { Problem } from '../core/problem.ts'
import { isStoredAlgorithm, storedSpec } from './algorithms.ts'
import type { LaneKeys, SealedBytes } from './lane-keys.ts'
import type { KeyForm } from './templates.ts'

export interface Rewrap {
  /** The generation of the storage KEK that it is to be under: it must be the current one. */
  readonly to: KeyId
  readonly rows: readonly SealedBytes[]
}

/** What came of one key: `current`: it was under it already. `refused`: its row is not what the service wrote, or its key opens under no generation. */
const [CURRENT, REWRAPPED, REFUSED] = [Buffer.from([0]), Buffer.from([1]), Buffer.from([2])]

/** After so many keys the lane looks for other calls. */
const SLICE = 8
const nextTurn = (): Promise<void> => new Promise((resolve) => void setImmediate(resolve))

/** Stored keys under the current storage KEK. Framed by turns: one byte, as above, and the new blob (empty but of 1). Each is opened; nothing is believed but that. */
export async function rewrap(keys: LaneKeys, { to, rows }: Rewrap): Promise<Uint8Array> {
  if (keys.roots.rotated['storage-kek'].current?.id !== to) throw new Error(`${to} is not the current storage KEK`)
  const forms = new Map<string, KeyForm>()
  const answers: Uint8Array[] = []
  for (const [at, row] of rows.entries()) {
    answers.push(...rewrapOne(keys, row, forms))
    if (at % SLICE === SLICE - 1) await nextTurn()
  }
  return frame(answers)
}

function rewrapOne(keys: LaneKeys, sealed: SealedBytes, forms: Map<string, KeyForm>): readonly [Buffer, Uint8Array] {
  let handle: Handle | undefined
  try {
    const { algorithm, wrapped } = keys.open(sealed).columns
    if (!isStoredAlgorithm(algorithm) || !(wrapped instanceof Uint8Array)) return [REFUSED, Buffer.alloc(0)]
    // It leaves once, under a trusted key, as when it was made.
    const form = forms.get(algorithm) ?? keys.token.form({ ...storedSpec(algorithm), extractable: true, wrapWithTrusted: true })
    forms.set(algorithm, form)
    const opened = keys.unwrap(wrapped, form)
    handle = opened.handle
    if (opened.kek.id === keys.roots.rotated['storage-kek'].current?.id) return [CURRENT, Buffer.alloc(0)]
    const fresh = Buffer.from(keys.token.wrap(keys.current('storage-kek'), handle))
    assertSameKey(keys, { fresh, wrapped, form, kek: opened.kek.handle })
    return [REWRAPPED, fresh]
  } catch (error) {
    if (error instanceof Problem && error.code === 'integrity-failed') return [REFUSED, Buffer.alloc(0)]
    throw error
  } finally {
    if (handle !== undefined) keys.token.destroy(handle)
  }
}

/** AES-KWP has no randomness (RFC 5649): what the new blob opens to, under the old KEK again, is the old blob to the byte. Else the key would be lost with that KEK. */
function assertSameKey(keys: LaneKeys, { fresh, wrapped, form, kek }: { fresh: Uint8Array; wrapped: Uint8Array; form: KeyForm; kek: Handle }): void {
  const again = keys.token.unwrap(keys.current('storage-kek'), fresh, form)
  try {
    if (!equalBytes(keys.token.wrap(kek, again), wrapped)) throw new Error('a key that was wrapped anew is not the key that it was')
  } finally {
    keys.token.destroy(again)
  }
}
