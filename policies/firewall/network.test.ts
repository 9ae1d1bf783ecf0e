import { BlockList, isIP } from 'node:net'
import fc from 'fast-check'
import { expect, it } from 'vitest'
import { formatAddress, parseAddress, parseNetwork } from './network.ts'

const address = fc.oneof(
  fc.ipV4(),
  fc.ipV6(),
  fc.ipV4().map((one) => `::ffff:${one}`),
  fc.constantFrom('::', '::1', '0.0.0.0', '255.255.255.255', '1::', '2001:DB8::a', '::1.2.3.4', 'ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff'),
)

it('holds what the platform’s own list holds', () => {
  fc.assert(
    fc.property(address, address, fc.nat({ max: 128 }), (one, other, length) => {
      const at = parseAddress(one)
      expect(at).toBeDefined()
      const bits = Math.min(length, isIP(other) === 4 ? 32 : 128)
      const family = isIP(other) === 4 ? 'ipv4' : 'ipv6'
      const isMapped = /^::ffff:\d+\./i.test(other)
      const list = new BlockList()
      list.addSubnet(other, bits, family)
      // The network's own address, without the bits behind its prefix.
      const start = parseAddress(other) ?? 0n
      const size = 1n << BigInt((family === 'ipv4' ? 32 : 128) - bits)
      const base = family === 'ipv4' ? start - (start % size) : start - ((start - (1n << 32n)) % size)
      const network = isMapped ? undefined : parseNetwork(`${formatAddress(base)}/${String(bits)}`)
      if (network === undefined || isIP(one.replace(/^::ffff:(?=\d+\.)/i, '')) !== isIP(other)) return
      const plain = one.replace(/^::ffff:(?=\d+\.)/i, '')
      expect(at !== undefined && at >= network.first && at <= network.last).toBe(list.check(plain, family))
    }),
    { numRuns: 3000 },
  )
})

it('reads what it writes', () => {
  fc.assert(
    fc.property(address, (one) => {
      const at = parseAddress(one) ?? -1n
      expect(parseAddress(formatAddress(at))).toBe(at)
    }),
  )
})

it.each(['10.0.0.0', '10.0.0.0/', '10.0.0.0/8/8', '10.0.0.0/+8', '10.0.0.0/08', '10.0.0.1/8', '1::/129', 'fe80::%1/64', '::ffff:1.2.3.0/120', 'x/8', ''])(
  '%j is no network',
  (text) => {
    expect(parseNetwork(text)).toBeUndefined()
  },
)
