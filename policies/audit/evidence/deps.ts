import type { KeyId } from '../../../core/ids.ts'
import type { Permit } from '../../permit.ts'
import type { Activation } from '../../revisions/activation.ts'
import type { SignedLog } from '../operations/export.ts'

/** The token's statement key, as far as evidence goes: it signs documents of the type `gridseal-evidence`. */
export interface EvidenceSigner {
  readonly keyId: KeyId
  /** sign {@link keyId}. The document: core/signed-document.ts. */
  sign(permit: Permit, content: unknown): Promise<string>
}

export interface EvidenceDeps {
  readonly log: SignedLog
  readonly signer: EvidenceSigner
  readonly revisions: {
    /** Undefined for one that was never put to work. Throws `integrity-failed` on one that the policy key did not sign. */
    find(revision: string): Promise<Activation | undefined>
    /** Of the policy key, SPKI. */
    publicKey(): Uint8Array
  }
  readonly now: () => Date
}
