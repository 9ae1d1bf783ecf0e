import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { equalBytes, hex, unframe, utf8 } from '../core/bytes.ts'
import { authenticationMessage } from './authentication.ts'
import { signatureInput } from './cose.ts'

const parts = fc.record({ iccid: fc.stringMatching(/^89[0-9]{17,18}$/), nonce: fc.uint8Array({ maxLength: 64 }), verifier: fc.string({ maxLength: 40 }) })

describe('what a card signs to authenticate', () => {
  it('is its fields, framed', () => {
    expect(hex(authenticationMessage({ iccid: '8986', nonce: Uint8Array.of(1, 2), verifier: 'v' }))).toBe(
      `00000010${hex(utf8('gridseal-auth-v1'))}00000004${hex(utf8('8986'))}00000002010200000001${hex(utf8('v'))}`,
    )
  })

  it('is never a COSE Sig_structure, whatever the nonce', () => {
    fc.assert(
      fc.property(parts, fc.uint8Array({ maxLength: 200 }), (asked, payload) => {
        expect(authenticationMessage(asked)[0]).toBe(0x00)
        expect(signatureInput({ payload })[0]).toBe(0x84)
      }),
    )
  })

  it('tells all its fields: no two challenges share one', () => {
    fc.assert(
      fc.property(parts, parts, (a, b) => {
        const same = a.iccid === b.iccid && a.verifier === b.verifier && equalBytes(a.nonce, b.nonce)
        expect(equalBytes(authenticationMessage(a), authenticationMessage(b))).toBe(same)
        expect(unframe(authenticationMessage(a))).toHaveLength(4)
      }),
    )
  })
})
