import { isIP } from 'node:net'

/** Addresses on one line of numbers: IPv4 from 0, IPv6 behind it. IPv4 mapped into IPv6 (RFC 4291 2.5.5.2) counts as IPv4. */
export interface Network {
  readonly first: bigint
  readonly last: bigint
}

const IPV4_END = 1n << 32n
/** One behind the last address. */
export const LINE_END = IPV4_END + (1n << 128n)
const MAPPED = 0xffffn << 32n

/** The place of an address on the line; undefined for what is no address. A zone index (`fe80::1%eth0`) is left out. */
export function parseAddress(text: string): bigint | undefined {
  const family = isIP(text)
  if (family === 0) return undefined
  if (family === 4) return ipv4(text)
  const value = ipv6(text.split('%', 1)[0] ?? '')
  return value >> 32n === 0xffffn ? value - MAPPED : value + IPV4_END
}

/** `10.1.0.0/16`, `2001:db8::/32`; undefined for anything else, also for addresses that have bits behind the prefix, and for IPv4 written as IPv6. */
export function parseNetwork(text: string): Network | undefined {
  const [address = '', prefix = '', ...rest] = text.split('/')
  const family = address.includes('%') ? 0 : isIP(address)
  const bits = family === 4 ? 32 : 128
  if (rest.length > 0 || family === 0 || !/^(0|[1-9]\d{0,2})$/.test(prefix) || Number(prefix) > bits) return undefined
  const size = 1n << BigInt(bits - Number(prefix))
  const value = family === 4 ? ipv4(address) : ipv6(address)
  if (value % size !== 0n || (family === 6 && value >> 32n === 0xffffn)) return undefined
  const first = family === 4 ? value : value + IPV4_END
  return { first, last: first + size - 1n }
}

/** The address at a place of the line, as text. */
export function formatAddress(at: bigint): string {
  if (at < IPV4_END) return [24n, 16n, 8n, 0n].map((shift) => String((at >> shift) & 0xffn)).join('.')
  const value = at - IPV4_END
  return Array.from({ length: 8 }, (_, group) => ((value >> BigInt(112 - 16 * group)) & 0xffffn).toString(16)).join(':')
}

const ipv4 = (text: string): bigint => text.split('.').reduce((value, part) => value * 256n + BigInt(part), 0n)

function ipv6(text: string): bigint {
  const dotted = /^(.*:)(\d+\.\d+\.\d+\.\d+)$/.exec(text)
  if (dotted !== null) {
    const low = ipv4(dotted[2] ?? '')
    return ipv6(`${dotted[1] ?? ''}${(low >> 16n).toString(16)}:${(low & 0xffffn).toString(16)}`)
  }
  const [head = '', tail] = text.split('::')
  const groups = (part: string): string[] => (part === '' ? [] : part.split(':'))
  const [left, right] = [groups(head), groups(tail ?? '')]
  const all = tail === undefined ? left : [...left, ...Array.from({ length: 8 - left.length - right.length }, () => '0'), ...right]
  return all.reduce((value, group) => (value << 16n) + BigInt(`0x${group}`), 0n)
}
