import { frame } from '../core/bytes.ts'

/**
 * What a card signs or MACs to authenticate itself: frame("gridseal-auth-v1", ICCID, nonce, verifier). Never a bare nonce: whoever hands a card a nonce
 * would choose what its key signs. It begins with a byte 00 (a length), so it is never a COSE Sig_structure, which begins with 84: neither can be passed
 * off as the other.
 */
export function authenticationMessage({
  iccid,
  nonce,
  verifier,
}: {
  /** Digits. */
  readonly iccid: string
  /** The challenge, as the service made it. */
  readonly nonce: Uint8Array
  /** Whom the card authenticates to: the URN of the caller that asked for the challenge. */
  readonly verifier: string
}): Uint8Array {
  return frame(['gridseal-auth-v1', iccid, nonce, verifier])
}
