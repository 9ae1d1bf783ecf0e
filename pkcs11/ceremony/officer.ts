import type { Handle } from 'pkcs11js'
import { Problem } from '../../core/problem.ts'
import { cryptokiError } from '../errors.ts'
import type { TokenSettings } from '../lane-message.ts'
import type { PinSource } from '../pin.ts'
import { CKK, CKM } from '../mechanisms.ts'
import { CKO, type KeySpec } from '../templates.ts'
import { findSlot, openModule } from '../slots.ts'
import { Token, TokenAway } from '../token.ts'
import { settle } from './settled-key.ts'

/** A token that a ceremony works on: where both PINs are, and the folder to sync where the token lives in files. */
export interface CeremonyToken extends TokenSettings {
  /** The security officer's PIN. Only the test token keeps one in a file; else it is typed, or in a file for as long as a ceremony needs it. */
  readonly officerPinFile?: PinSource
  /** SoftHSM's folder of tokens. */
  readonly tokensFolder?: string
}

const PIN_INCORRECT = 0xa0

/** Opens a writable session without a login. Throws {@link TokenAway}. */
export function openForCeremony(settings: CeremonyToken): Token {
  const slot = findSlot(openModule(settings), settings)
  if (slot === undefined) throw new TokenAway('the token is not there')
  return Token.openWithoutLogin(slot)
}

/** As the user, in a writable session. */
export function openAsUser(settings: CeremonyToken): Token {
  const token = openForCeremony(settings)
  token.login('user', settings.pinSource)
  return token
}

/** Both holders of the token's PINs are there: each logs in, and nothing else is done. Throws `forbidden` where a PIN is wrong. */
export function provePins(settings: CeremonyToken): void {
  try {
    asOfficer(openAsUser(settings), settings, () => undefined)
  } catch (error) {
    if (cryptokiError(error)?.code === PIN_INCORRECT) throw new Problem('forbidden', 'One of the two PINs of the token is wrong. Nothing was changed.')
    throw error
  }
}

/** Does what only the security officer may, between two logins of the user. What is to outlive the logout is a session object that is not private. */
export function asOfficer<Result>(token: Token, settings: CeremonyToken, work: () => Result): Result {
  if (settings.officerPinFile === undefined) throw new Error('a trusted key needs the security officer')
  token.logout()
  token.login('officer', settings.officerPinFile)
  try {
    return work()
  } finally {
    token.logout()
    token.login('user', settings.pinSource)
  }
}

/** What may be done with a trusted key while it is the officer's, and when it is settled. */
export interface TrustedKey {
  readonly label: string
  readonly uses: KeySpec['uses']
}

/** How a trusted key leaves before it is settled. */
export interface Leaving<Result, Wrapped> {
  readonly extractable: boolean
  /** It leaves under a trusted key alone. Default false. */
  readonly wrapWithTrusted?: boolean
  /** By the officer. */
  readonly work: (original: Handle) => Result
  /** By the user, who sees private keys: under the backup KEK. */
  readonly backUp?: (original: Handle) => Wrapped
}

const TRUSTED = { class: CKO.SECRET, keyType: CKK.AES } as const

/** The officer's original of a trusted key: a session object that is not private, so that it never is on disk and outlives the officer's logout. */
export const trustedOriginal = (spec: KeySpec): KeySpec => ({ ...spec, trusted: true, original: true, insecurePublic: true })

/**
 * A TRUSTED AES-256 key by the one way there is: only the security officer can set TRUSTED, and on SoftHSM the officer can make only public
 * objects, which lie in clear on disk. So the officer makes a *session* object (never on disk); `leave.work` may wrap it while it is extractable;
 * then the user, logged in on the same session, copies it as a private token object with its final flags, and the original is destroyed.
 * Begins without a login; on return the user is logged in.
 */
export function makeTrusted<Result, Wrapped = undefined>(
  token: Token,
  settings: CeremonyToken,
  key: TrustedKey,
  leave: Leaving<Result, Wrapped>,
): { readonly handle: Handle; readonly left: Result; readonly wrapped: Wrapped | undefined } {
  if (settings.officerPinFile === undefined) throw new Error('a trusted key needs the security officer')
  const { extractable, wrapWithTrusted = false } = leave
  const spec = trustedOriginal({ ...TRUSTED, uses: key.uses, mechanisms: [token.kwp], extractable, wrapWithTrusted })
  token.login('officer', settings.officerPinFile)
  const original = token.generate(token.form(spec), 32)
  const left = leave.work(original)
  token.logout()
  token.login('user', settings.pinSource)
  const wrapped = leave.backUp?.(original)
  return { handle: settle(token, original, { spec, label: key.label }), left, wrapped }
}

/** The KCV (aes-gp) of a key that may only wrap: through a second key of the same value, which never leaves the officer's session. */
export function throughTwin<Result>(token: Token, key: Handle, work: (twin: Handle) => Result): Result {
  const carrier = token.generate(token.form({ ...TRUSTED, uses: ['wrap', 'unwrap'], mechanisms: [token.kwp], insecurePublic: true }), 32)
  const twin = token.unwrap(carrier, token.wrap(carrier, key), token.form({ ...TRUSTED, uses: ['encrypt'], mechanisms: [CKM.AES_ECB], insecurePublic: true }))
  try {
    return work(twin)
  } finally {
    token.destroy(carrier, twin)
  }
}
