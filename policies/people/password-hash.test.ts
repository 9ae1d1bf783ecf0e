import { describe, expect, it } from 'vitest'
import { utf8 } from '../../core/bytes.ts'
import { HASH_COST, PasswordHasher } from './password-hash.ts'
import type { PersonSecrets } from './person-secrets.ts'
import { CHEAP } from './testing/people-house.ts'

/** A pepper that is told: what argon2 gets is what it answers. */
const plain = (answer: (value: Uint8Array) => Uint8Array): PersonSecrets => ({
  pepper: (_purpose, value) => Promise.resolve(answer(value)),
  makeOtpSecret: () => Promise.reject(new Error('not asked')),
  otpHmac: () => Promise.reject(new Error('not asked')),
})
const echo = plain((value) => value)
const SALT = new Uint8Array(16).fill(2)

describe('a password’s digest', () => {
  it('is Argon2id, version 0x13: the value of another implementation', async () => {
    const digest = await new PasswordHasher({ secrets: plain(() => utf8('password')), cost: { memoryKib: 65_536, passes: 2, lanes: 1 } }).hash('x', {
      personId: 'p',
      salt: utf8('somesalt'),
    })
    // The reference implementation's test vector (phc-winner-argon2, test.c: version 0x13, id, t = 2, m = 16, p = 1).
    expect(Buffer.from(digest).toString('hex')).toBe('09316115d5cf24ed5a15a31a3ba326e5cf32edc24702987c02b6566f61913cf7')
  })

  it('differs with person, salt, password and pepper, and is the same for the same', async () => {
    const hasher = new PasswordHasher({ secrets: echo, cost: CHEAP })
    const [first, ...others] = await Promise.all([
      hasher.hash('tower', { personId: 'p', salt: SALT }),
      hasher.hash('tower', { personId: 'q', salt: SALT }),
      hasher.hash('tower', { personId: 'p', salt: new Uint8Array(16) }),
      hasher.hash('towers', { personId: 'p', salt: SALT }),
      new PasswordHasher({ secrets: plain((value) => Buffer.concat([value, value])), cost: CHEAP }).hash('tower', { personId: 'p', salt: SALT }),
    ])
    const digests = [first, ...others].map((digest) => Buffer.from(digest).toString('hex'))
    expect(new Set(digests).size).toBe(5)
    expect(await hasher.matches('tower', { personId: 'p', salt: SALT, digest: first, cost: CHEAP })).toBe(true)
    expect(await hasher.matches('towe\u0072', { personId: 'p', salt: SALT, digest: first, cost: CHEAP })).toBe(true)
    expect(await hasher.matches('Tower', { personId: 'p', salt: SALT, digest: first, cost: CHEAP })).toBe(false)
  })

  it('costs what RFC 9106 recommends where memory is short', () => {
    expect(HASH_COST).toEqual({ memoryKib: 65_536, passes: 3, lanes: 4 })
  })
})

describe('the queue', () => {
  it('hashes two at once, lets 32 wait, and refuses more at once; then it goes on', async () => {
    let running = 0
    let most = 0
    const release: (() => void)[] = []
    const slow: PersonSecrets = {
      ...echo,
      pepper: async (_purpose, value) => {
        most = Math.max(most, ++running)
        await new Promise<void>((resolve) => void release.push(resolve))
        running -= 1
        return value
      },
    }
    const hasher = new PasswordHasher({ secrets: slow, cost: CHEAP })
    const asked = Array.from({ length: 40 }, () =>
      hasher.hash('tower', { personId: 'p', salt: SALT }).then(
        () => 'done',
        ({ code }: { code: string }) => code,
      ),
    )
    expect(() => hasher.assertRoom()).toThrow(/Too many/)
    for (let done = 0; done < 34; ) {
      await new Promise((resolve) => void setImmediate(resolve))
      for (const go of release.splice(0)) {
        done += 1
        go()
      }
    }
    const ends = await Promise.all(asked)
    expect([most, ends.filter((end) => end === 'done').length, ends.filter((end) => end === 'overloaded').length]).toEqual([2, 34, 6])
    expect(() => hasher.assertRoom()).not.toThrow()
  })

  it('leaves the event loop alone', async () => {
    const hasher = new PasswordHasher({ secrets: echo })
    let ticks = 0
    const ticking = setInterval(() => (ticks += 1), 1)
    await Promise.all(Array.from({ length: 4 }, () => hasher.hash('tower', { personId: 'p', salt: SALT })))
    clearInterval(ticking)
    expect(ticks).toBeGreaterThan(10)
  })
})
