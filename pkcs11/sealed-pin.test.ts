import { describe, expect, it } from 'vitest'
import { PinRecipient, sealPin } from './sealed-pin.ts'

const pin = Buffer.from('1234 and ünïcode')

describe('a PIN on its way', () => {
  it('opens for whom it was sealed, and is not in what goes over', () => {
    const recipient = new PinRecipient()
    const sealed = sealPin(pin, recipient.publicKey)
    expect(recipient.open(sealed)).toEqual(pin)
    expect(Buffer.from(sealed.sealed).includes(pin)).toBe(false)
    expect(Buffer.from(sealPin(pin, recipient.publicKey).sealed).equals(sealed.sealed)).toBe(false)
  })

  it('opens for nobody else, and not changed', () => {
    const recipient = new PinRecipient()
    const sealed = sealPin(pin, recipient.publicKey)
    expect(() => new PinRecipient().open(sealed)).toThrow('authenticate')
    for (let at = 0; at < sealed.sealed.length; at++) {
      const changed = Buffer.from(sealed.sealed)
      changed[at] = (changed[at] ?? 0) ^ 1
      expect(() => recipient.open({ ...sealed, sealed: changed })).toThrow('authenticate')
    }
  })
})
