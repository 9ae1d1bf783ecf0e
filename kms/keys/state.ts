/** The states of a key, NIST SP 800-57 part 1 revision 5 clause 7; `reserved` is ours: id and label are taken, and no key was made yet. */
export const KEY_STATES = ['reserved', 'pre-active', 'active', 'suspended', 'deactivated', 'compromised', 'destroyed'] as const
export type KeyState = (typeof KEY_STATES)[number]

/** What callers do with a key of their own. `sign` and `encrypt` apply protection; `verify` and `decrypt` process what was protected before. */
export type CallerKeyUse = 'sign' | 'verify' | 'encrypt' | 'decrypt'

const PROCESS: readonly CallerKeyUse[] = ['verify', 'decrypt']

/**
 * What each state permits. A state that only processes leaves the risk with who relies on the result (7.3 to 7.5), so answers name the state:
 * a signature of a suspended or compromised key may have been made by someone else, and what it encrypted may have been read by someone else.
 */
const PERMITTED: Readonly<Record<KeyState, readonly CallerKeyUse[]>> = {
  'reserved': [],
  'pre-active': [], // 7.1: proof of possession and key confirmation only
  'active': ['sign', 'encrypt', ...PROCESS], // 7.2
  'suspended': PROCESS, // 7.3: shall not apply protection; may process what was protected before the suspension
  'deactivated': PROCESS, // 7.4: shall not apply protection; may process
  'compromised': PROCESS, // 7.5: shall not apply protection; may process where those who rely on it know of the compromise
  'destroyed': [], // 7.6
}

export const isPermitted = (state: KeyState, use: CallerKeyUse): boolean => PERMITTED[state].includes(use)
