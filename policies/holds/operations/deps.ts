import type { KeyId } from '../../../core/ids.ts'
import type { Permit } from '../../permit.ts'
import type { HoldStore, ParkedInput } from '../hold-store.ts'

/** How inputs are parked: encrypted by a token key that is made for one of them. main.ts hands it in. */
export interface Parking {
  /** generate and encrypt keyId. `bind`: additional authenticated data of each part. */
  seal(permit: Permit, key: KeyId, parts: readonly BoundPart[]): Promise<ParkedInput>
  /** decrypt keyId. Undefined where a part is not what was sealed. */
  open(permit: Permit, key: KeyId, input: ParkedInput, aads: readonly Uint8Array[]): Promise<readonly Uint8Array[] | undefined>
}

export interface BoundPart {
  readonly plaintext: Uint8Array
  readonly aad: Uint8Array
}

export interface Deps {
  readonly holds: HoldStore
  readonly parking: Parking
  readonly databaseNow: () => Promise<Date>
}
