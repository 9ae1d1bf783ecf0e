/** IMSIs (ITU-T E.212, TS 23.003 2.2): three digits of country, two or three of network, the rest of the subscription; 15 digits here. */

const DIGITS = /^[0-9]+$/
/** Country and the two digits of network that every plan has: counting up must not leave them. */
const NETWORK_DIGITS = 5

/** Why `text` is not an IMSI, for its sender; undefined where it is one. */
export function imsiFault(text: string): string | undefined {
  if (!DIGITS.test(text)) return 'an IMSI has digits only'
  if (text.length !== 15) return `an IMSI has 15 digits, this has ${text.length}`
  return undefined
}

/** The IMSI `by` places further. Undefined where it would leave its network. */
export function nextImsi(imsi: string, by = 1): string | undefined {
  const next = String(Number(imsi) + by).padStart(15, '0')
  return next.length === 15 && next.startsWith(imsi.slice(0, NETWORK_DIGITS)) ? next : undefined
}
