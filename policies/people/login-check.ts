import { timingSafeEqual } from 'node:crypto'
import { base64url, concat, fromBase64url, utf8 } from '../../core/bytes.ts'
import { newUuid } from '../../core/ids.ts'
import type { RowSealer, SealedRow } from '../../core/row.ts'
import { sealRow } from '../../core/sealed-records.ts'
import type { Account } from './account.ts'
import { type OtpRecord, otpRow, type PasswordRecord } from './credentials.ts'
import type { PasswordHasher } from './password-hash.ts'
import type { PersonSecrets } from './person-secrets.ts'
import { codeOf, stepsAt } from './totp.ts'

/** What somebody shows: a password, and a one-time code or a recovery code. */
export interface Proof {
  readonly password: string
  readonly code?: string | undefined
  readonly recoveryCode?: string | undefined
}

export interface Checked {
  readonly isPasswordRight: boolean
  readonly otp: CodeUse
}

/** The codes after one was used up: what is to be written before a login stands. `used`: it was right, and was used before. `wrong`: it is none. */
export type CodeUse = OtpRecord | 'used' | 'wrong'

type Credentials = Pick<PasswordRecord, 'personId' | 'salt' | 'digest' | 'cost'> & { readonly otp: OtpRecord; readonly sealedOtp: SealedRow }

/** Checks logins. What is not there is checked too, against a decoy that nothing opens, and every step is done whatever the one before found. */
export class LoginCheck {
  readonly #secrets: PersonSecrets
  readonly #sealer: RowSealer
  readonly #hasher: PasswordHasher
  readonly #random: (n: number) => Uint8Array
  #decoy: Promise<Credentials> | undefined

  constructor(given: {
    readonly secrets: PersonSecrets
    readonly sealer: RowSealer
    readonly hasher: PasswordHasher
    readonly random: (n: number) => Uint8Array
  }) {
    this.#secrets = given.secrets
    this.#sealer = given.sealer
    this.#hasher = given.hasher
    this.#random = given.random
  }

  async check(account: Account | undefined, { password, code, recoveryCode }: Proof, at: Date): Promise<Checked> {
    const credentials = account === undefined ? await this.#decoyCredentials() : { ...account.password, otp: account.otp, sealedOtp: account.sealedOtp }
    const isRight = await this.#hasher.matches(password, credentials)
    const otp = recoveryCode === undefined ? await this.useCode(credentials, code ?? '', at) : await this.#useRecoveryCode(credentials.otp, recoveryCode)
    return account === undefined ? { isPasswordRight: false, otp: 'wrong' } : { isPasswordRight: isRight, otp }
  }

  /** Of the steps that are taken now, none that was taken before (RFC 6238 5.2). */
  async useCode({ otp, sealedOtp }: Pick<Credentials, 'otp' | 'sealedOtp'>, code: string, at: Date): Promise<CodeUse> {
    const steps = stepsAt(at)
    const hmacs = await this.#secrets.otpHmac(sealedOtp, steps)
    const matching = steps.filter((_, index) => isSame(codeOf(hmacs[index] ?? new Uint8Array(20)), code))
    const fresh = matching.find((step) => step > otp.lastStep)
    if (fresh === undefined) return matching.length > 0 ? 'used' : 'wrong'
    return { ...otp, lastStep: fresh, version: otp.version + 1 }
  }

  /** What is stored of a recovery code. */
  async digestOfRecoveryCode(personId: string, code: string): Promise<string> {
    return base64url(await this.#secrets.pepper('recovery-code', concat(utf8(personId), Buffer.of(0), utf8(plainRecoveryCode(code)))))
  }

  /** A token that a device keeps, so that its failures are counted apart. It lets nobody in. */
  async makeDevice(personId: string): Promise<string> {
    const nonce = this.#random(16)
    return base64url(concat(nonce, await this.#deviceMac(personId, nonce)))
  }

  /** What a device of this person is counted by; undefined for a token that is none of theirs. */
  async openDevice(personId: string, token: string): Promise<string | undefined> {
    const bytes = fromBase64url(token)
    const nonce = bytes.subarray(0, 16)
    const mac = await this.#deviceMac(personId, nonce)
    return bytes.length === 16 + mac.length && timingSafeEqual(bytes.subarray(16), mac) ? base64url(nonce) : undefined
  }

  /** The decoy is under root keys, which can be replaced. */
  forget(): void {
    this.#decoy = undefined
  }

  #deviceMac(personId: string, nonce: Uint8Array): Promise<Uint8Array> {
    return this.#secrets.pepper('device', concat(utf8(personId), Buffer.of(0), nonce))
  }

  async #useRecoveryCode(otp: OtpRecord, code: string): Promise<CodeUse> {
    const digest = await this.digestOfRecoveryCode(otp.personId, code)
    const left = otp.recovery.filter((one) => !isSame(one, digest))
    return left.length === otp.recovery.length ? 'wrong' : { ...otp, recovery: left, version: otp.version + 1 }
  }

  /** Made at the first login that has need of it, and kept while the process lives. */
  #decoyCredentials(): Promise<Credentials> {
    this.#decoy ??= this.#makeDecoy().catch((error: unknown) => {
      this.#decoy = undefined
      throw error
    })
    return this.#decoy
  }

  async #makeDecoy(): Promise<Credentials> {
    const { wrapped } = await this.#secrets.makeOtpSecret()
    const personId = newUuid()
    const otp: OtpRecord = { personId, state: 'active', wrapped, lastStep: -1, recovery: [], version: 1 }
    const row = otpRow(otp)
    const sealedOtp = { row, mac: await sealRow(this.#sealer, row) }
    return { personId, salt: this.#random(16), digest: this.#random(32), cost: this.#hasher.cost, otp, sealedOtp }
  }
}

/** In a time that does not tell where two texts of the same length differ. */
const isSame = (a: string, b: string): boolean => a.length === b.length && timingSafeEqual(Buffer.from(a), Buffer.from(b))

/** As it is digested: what people add and confuse when they copy it is taken away. */
export const plainRecoveryCode = (code: string): string => code.toUpperCase().replaceAll(/[\s-]/g, '').replaceAll('0', 'O').replaceAll('1', 'I')
