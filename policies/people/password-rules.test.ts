import { describe, expect, it } from 'vitest'
import { COMMON_PASSWORDS } from './common-passwords.ts'
import { normalised, passwordFault } from './password-rules.ts'

const NAMES = ['chen.wei', 'gridseal']
const fault = (password: string): string | undefined => passwordFault(password, NAMES)

describe('a password', () => {
  it.each([
    'tower gravel anise 9',
    'correct horse battery staple',
    'Xk8#vQ2$mZ5!pR',
    '我的电表在楼下的柜子里呢呢呢',
    'ein Zähler im Keller',
    'qwerty and then some words',
    '🔑 meters hum at night',
  ])('is taken: %j', (password) => {
    expect(fault(password)).toBeUndefined()
  })

  it.each([
    ['', /0 characters/],
    ['elevenchars', /11 characters; at least 12/],
    ['ab'.repeat(65), /more than 128/],
    ['with a\ttab in it', /control/],
    ['Chen.Wei is my name', /chen\.wei in it/],
    ['my GRIDSEAL password', /gridseal in it/],
    ['password1234', /many people/],
    ['Password2026!', /many people/],
    ['P@ssw0rd2026', /many people/],
    ['!!password!!', /many people/],
    ['administrator', /many people/],
    ['1qaz2wsx3edc', /many people|follows/],
    ['sunshine12345', /many people/],
    ['aaaaaaaaaaaa', /repeats/],
    ['abababababab', /repeats/],
    ['horse1horse1', /repeats/],
    ['tiger77tiger77', /repeats/],
    ['passwordpassword', /many people|repeats/],
    ['123456789012', /many people|repeats|follows/],
    ['abcdefghijklm', /many people|follows/],
    ['qwertyuiopas', /many people|follows/],
    ['zxcvbnmasdfghj', /many people|follows/],
  ])('is refused, and told why: %j', (password, why) => {
    expect(fault(password)).toMatch(why)
  })

  it('is not refused for a name of two letters, which is in every word', () => {
    expect(passwordFault('tower gravel anise', ['an'])).toBeUndefined()
  })

  it('is the same however its characters are composed, and counted as they are then', () => {
    expect(normalised('Za\u0308hler')).toBe('Zähler')
    expect(normalised('ｔｏｗｅｒ')).toBe('tower')
    expect(fault('ａｂｃｄｅｆｇｈｉｊｋｌｍ')).toMatch(/many people|follows/)
    expect(fault('\u{1f511}'.repeat(11))).toMatch(/11 characters/)
  })

  it('is none of the list, whatever its case', () => {
    expect(COMMON_PASSWORDS.size).toBeGreaterThan(5000)
    const long = [...COMMON_PASSWORDS].filter((one) => one.length >= 12)
    expect(long.length).toBeGreaterThan(250)
    for (const one of long) expect(fault(one.toUpperCase()), one).toBeDefined()
    for (const one of COMMON_PASSWORDS) expect(one).toMatch(/^[\x21-\x7e]{6,}$/)
  })
})
