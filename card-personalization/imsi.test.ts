import { describe, expect, it } from 'vitest'
import { imsiFault, nextImsi } from './imsi.ts'

describe('IMSI', () => {
  it.each(['460001234567890', '001010000000001'])('%s is one', (text) => expect(imsiFault(text)).toBeUndefined())
  it.each(['46000123456789', '4600012345678901', '46000123456789a', ''])('%j is none', (text) => expect(imsiFault(text)).toMatch(/digits/))
  it('counts up, keeps leading zeros, and does not leave its network', () => {
    expect(nextImsi('460001234567899', 2)).toBe('460001234567901')
    expect(nextImsi('001010000000009')).toBe('001010000000010')
    expect(nextImsi('460009999999999')).toBeUndefined()
    expect(nextImsi('999999999999999')).toBeUndefined()
  })
})
