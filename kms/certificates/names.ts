import { isIP } from 'node:net'
import { constructed, oid, primitive, printableString, sequence, setOf, utf8String } from '../../core/der.ts'

/** `serialNumber` (X.520 6.2.9) is the device's, not the certificate's: a card's ICCID stands there (IEEE 802.1AR-2018 8.6). */
const ATTRIBUTES = { O: oid('2.5.4.10'), OU: oid('2.5.4.11'), CN: oid('2.5.4.3'), serialNumber: oid('2.5.4.5') } as const

/** Attributes in their order, one to an RDN: `[['O', 'Gridseal'], ['CN', 'Gridseal root CA']]`. */
export type DistinguishedName = readonly (readonly [keyof typeof ATTRIBUTES, string])[]

/** Name (RFC 5280 4.1.2.4), UTF8String values; of serialNumber a PrintableString, as X.520 has it. Throws a RangeError on a value that is empty or longer than 64 characters (ub-common-name and its like). */
export function encodeName(name: DistinguishedName): Uint8Array {
  return sequence(
    ...name.map(([attribute, value]) => {
      if (value.length === 0 || value.length > 64) throw new RangeError(`${attribute} is 1 to 64 characters`)
      return setOf(sequence(ATTRIBUTES[attribute], attribute === 'serialNumber' ? printableString(value) : utf8String(value)))
    }),
  )
}

export type GeneralName =
  | { readonly kind: 'uri'; readonly value: string }
  | { readonly kind: 'dns'; readonly value: string }
  | { readonly kind: 'ip'; readonly value: string }

/** GeneralName (RFC 5280 4.2.1.6). Throws a RangeError on what is not an IP address or not ASCII. */
export function encodeGeneralName({ kind, value }: GeneralName): Uint8Array {
  if (kind === 'ip') return primitive(7, addressBytes(value))
  if (!/^[\x21-\x7e]+$/.test(value)) throw new RangeError('a name is printable ASCII without spaces')
  return primitive(kind === 'dns' ? 2 : 6, Buffer.from(value, 'ascii'))
}

/** `directoryName [4] EXPLICIT Name`. */
export const directoryName = (name: Uint8Array): Uint8Array => constructed(4, name)

/** 4 or 16 bytes of an address as text. Throws a RangeError on anything else. */
export function addressBytes(address: string): Uint8Array {
  const family = isIP(address)
  if (family === 4) return Uint8Array.from(address.split('.'), Number)
  if (family !== 6 || address.includes('%')) throw new RangeError('not an IP address')
  const [head = '', tail] = new URL(`http://[${address}]`).hostname.slice(1, -1).split('::')
  const left = head === '' ? [] : head.split(':')
  const right = tail === undefined || tail === '' ? [] : tail.split(':')
  const groups = [...left, ...Array<string>(8 - left.length - right.length).fill('0'), ...right]
  const bytes = Buffer.alloc(16)
  groups.forEach((group, at) => bytes.writeUInt16BE(Number.parseInt(group, 16), 2 * at))
  return bytes
}
