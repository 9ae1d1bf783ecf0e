import { keyId } from '../core/ids.ts'
import { encodeRow, type SealedRow } from '../core/row.ts'
import type { PersonSecrets } from '../policies/people/index.ts'
import type { Lanes } from './lanes.ts'
import type { OtpSecret } from './otp-secret.ts'
import type { PepperPurpose } from './pepper.ts'
import type { RootKeysInUse } from './root-keys-in-use.ts'

const SHA_1 = 20
/** An AES-KWP of a fresh key takes about as long as four signatures. */
const OTP_WEIGHT = 4

/**
 * {@link PersonSecrets} through lanes: a door of its own beside integrity.ts. No method takes a key id, and its keys serve nothing else. `calls` counts what
 * was asked of each; they are not logged singly, since the login is.
 */
export class LanePersonSecrets implements PersonSecrets {
  readonly #lanes: Lanes
  readonly #keys: RootKeysInUse
  readonly calls = { peppers: 0, secretsMade: 0, codes: 0 }

  constructor(lanes: Lanes, keys: RootKeysInUse) {
    this.#lanes = lanes
    this.#keys = keys
  }

  async pepper(purpose: PepperPurpose, value: Uint8Array): Promise<Uint8Array> {
    this.calls.peppers++
    return this.#lanes.any().call('pepper', { purpose, value })
  }

  async makeOtpSecret(): Promise<OtpSecret> {
    this.calls.secretsMade++
    return this.#lanes.any().call('makeOtpSecret', undefined, { weight: OTP_WEIGHT })
  }

  async otpHmac({ row, mac }: SealedRow, counters: readonly number[]): Promise<Uint8Array[]> {
    this.calls.codes += counters.length
    const call = { sealed: { id: keyId(row.id), row: encodeRow(row), mac }, counters }
    const macs = await this.#keys.knowing(() => this.#lanes.any().call('otpHmac', call, { weight: OTP_WEIGHT }))
    return counters.map((_, at) => macs.subarray(SHA_1 * at, SHA_1 * (at + 1)))
  }
}
