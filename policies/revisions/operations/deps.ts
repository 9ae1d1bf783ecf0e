import type { KeyId } from '../../../core/ids.ts'
import type { Caller } from '../../caller.ts'
import type { LoadedPolicy } from '../../firewall/index.ts'
import type { Permit } from '../../permit.ts'
import type { ActivationStore } from '../activation-store.ts'

export interface Deps {
  readonly activations: ActivationStore
  readonly signer: PolicySigner
  /** Reads, compiles and tests a policy. Throws a PolicyError. */
  readonly load: (text: string) => LoadedPolicy
  /** Active officers, as if they came from where this caller does. */
  readonly officersLike: (caller: Caller) => Promise<readonly Caller[]>
  readonly databaseNow: () => Promise<Date>
}

/** The token's policy key: it signs activations and nothing else. */
export interface PolicySigner {
  readonly keyId: KeyId
  /** sign {@link keyId}. Raw r||s, 64 bytes. */
  sign(permit: Permit, message: Uint8Array): Promise<Uint8Array>
}
