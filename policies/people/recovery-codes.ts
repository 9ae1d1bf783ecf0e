import { base32 } from './totp.ts'

const HOW_MANY = 10
/** Of a code: 80 bits. */
const BYTES = 10

/** New recovery codes, each `XXXX-XXXX-XXXX-XXXX` of A to Z and 2 to 7. */
export const makeRecoveryCodes = (random: (n: number) => Uint8Array): string[] =>
  Array.from({ length: HOW_MANY }, () => (base32(random(BYTES)).match(/.{4}/g) ?? []).join('-'))
