import type { KeyId } from '../core/ids.ts'

/** What a key can be used for, in the words of the policy and of the log. `authenticate`: Milenage by a card's Ki, never CK or IK. */
export type KeyAction = 'generate' | 'sign' | 'verify' | 'encrypt' | 'decrypt' | 'mac' | 'authenticate' | 'derive' | 'wrap' | 'unwrap' | 'ceremony'

/** One use of one key: the unit of a permit. */
export interface KeyUse {
  readonly action: KeyAction
  readonly keyId: KeyId
}

/** Thrown on a key use that no decision covers. It is a fault of the service's own code, never of a caller. */
export class PermitError extends Error {
  override readonly name = 'PermitError'
}

let newPermit: (uses: readonly KeyUse[]) => Permit
let expirePermit: (permit: Permit) => void

/**
 * Proof that the gate allowed these key uses and that the audit log is holding the record open.
 * INVARIANT: only gate.ts makes one, and it is dead once the operation has returned.
 */
export class Permit {
  readonly #uses: readonly KeyUse[]
  #live = true

  private constructor(uses: readonly KeyUse[]) {
    this.#uses = uses
  }

  static {
    newPermit = (uses) => new Permit(uses)
    expirePermit = (permit) => {
      permit.#live = false
    }
  }

  /** Throws a {@link PermitError} unless the permit is live and lists the use. pkcs11/ calls it before every use. */
  assertAllows(action: KeyAction, keyId: KeyId): void {
    if (!this.#live) throw new PermitError(`the permit is over: ${action} ${keyId}`)
    if (!this.#uses.some((use) => use.action === action && use.keyId === keyId)) {
      throw new PermitError(`the permit does not cover ${action} ${keyId}`)
    }
  }
}

export { expirePermit, newPermit }
