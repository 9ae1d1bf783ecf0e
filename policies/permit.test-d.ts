import type { KeyId } from '../core/ids.ts'
import { Permit } from './permit.ts'

declare const keyId: KeyId

// @ts-expect-error: a look-alike is not a Permit
export const lookAlike: Permit = { assertAllows: () => undefined }

// @ts-expect-error: nor is an object with a private field of its own
export const forged: Permit = new (class {
  readonly #uses: readonly string[] = []
  assertAllows(): void {
    if (this.#uses.length > 0) throw new Error('never')
  }
})()

// @ts-expect-error: nobody else constructs one
export const made = new Permit([{ action: 'sign', keyId }])
