import type { Handle } from 'pkcs11js'
import { CKM, CKK } from '../mechanisms.ts'
import { CKA, CKO, type KeySpec } from '../templates.ts'
import { Token } from '../token.ts'
import type { TokenSettings } from '../lane-message.ts'
import { findSlot, openModule } from '../token.ts'
import { TokenAway } from '../token.ts'

/** A token that a ceremony works on: both PINs by file, and the folder to sync where the token lives in files. */
export interface CeremonyToken extends TokenSettings {
  /** The security officer's PIN. Only the test token keeps one in a file. */
  readonly officerPinFile?: string
  /** SoftHSM's folder of tokens. */
  readonly tokensFolder?: string
}

/** Opens a writable session without a login. Throws {@link TokenAway}. */
export function openForCeremony(settings: CeremonyToken): Token {
  const slot = findSlot(openModule(settings.modulePath), settings)
  if (slot === undefined) throw new TokenAway('the token is not there')
  return Token.openWithoutLogin(slot)
}

/** What may be done with a trusted key while it is the officer's, and when it is settled. */
export interface TrustedKey {
  readonly label: string
  readonly uses: KeySpec['uses']
}

const TRUSTED = { class: CKO.SECRET, keyType: CKK.AES } as const

/**
 * A TRUSTED AES-256 key by the one way there is: only the security officer can set TRUSTED, and on SoftHSM the officer can make only public
 * objects, which lie in clear on disk. So the officer makes a *session* object (never on disk); `leave` may wrap it while it is extractable;
 * then the user, logged in on the same session, copies it as a private token object with its final flags, and the original is destroyed.
 * On return the user is logged in.
 */
export function makeTrusted<Result>(
  token: Token,
  settings: CeremonyToken,
  key: TrustedKey,
  leave: { readonly extractable: boolean; readonly work: (original: Handle) => Result },
): { readonly handle: Handle; readonly left: Result } {
  if (settings.officerPinFile === undefined) throw new Error('a trusted key needs the security officer')
  const spec: KeySpec = { ...TRUSTED, uses: key.uses, mechanisms: [token.kwp], trusted: true }
  token.login('officer', settings.officerPinFile)
  const original = token.generate(token.form({ ...spec, original: true, insecurePublic: true, extractable: leave.extractable }), 32)
  const left = leave.work(original)
  token.logout()
  token.login('user', settings.pinFile)
  const handle = token.lib.C_CopyObject(token.handle, original, [
    { type: CKA.TOKEN, value: true },
    { type: CKA.PRIVATE, value: true },
    { type: CKA.LABEL, value: key.label },
    ...(leave.extractable ? [{ type: CKA.EXTRACTABLE, value: false }] : []), // written once: SoftHSM refuses to write false over false
    { type: CKA.MODIFIABLE, value: false },
  ])
  token.destroy(original)
  token.form({ ...spec, label: key.label, copyable: true }).assert(token.lib, token.handle, handle)
  return { handle, left }
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
