import type { X509Certificate } from 'node:crypto'
import type { TLSSocket } from 'node:tls'
import { describe, expect, it } from 'vitest'
import { type FindCaller, Identities } from './identity.ts'

const issuer = {} as X509Certificate
const socket = (parts: { fingerprint?: string; authorized?: boolean; isIssued?: boolean; isSigned?: boolean } = {}): TLSSocket =>
  ({
    authorized: parts.authorized ?? true,
    remoteAddress: '127.0.0.1',
    getPeerX509Certificate: () =>
      parts.fingerprint === ''
        ? undefined
        : ({
            fingerprint256: parts.fingerprint ?? 'AA:BB',
            checkIssued: (by: X509Certificate) => by === issuer && parts.isIssued !== false,
            verify: () => parts.isSigned !== false,
          } as unknown as X509Certificate),
  }) as unknown as TLSSocket

const billing = { kind: 'module', name: 'billing', id: 'c1' } as const

function identities(answers: Awaited<ReturnType<FindCaller>>[]) {
  const asked: string[] = []
  const clock = { nowMs: 0 }
  const known = new Identities({
    issuer,
    find: (fingerprint) => {
      asked.push(fingerprint)
      return Promise.resolve(answers[Math.min(asked.length, answers.length) - 1])
    },
    nowMs: () => clock.nowMs,
  })
  return { known, asked, clock }
}

describe('who is on a connection', () => {
  it('is what the registration says', async () => {
    const { known } = identities([billing])
    expect(await known.callerOf(socket())).toEqual({ ...billing, certificate: 'aabb', address: '127.0.0.1', listener: 'tls', strength: 'certificate' })
  })

  it('is asked for again after a second, so that a revocation works on an open connection', async () => {
    const { known, asked, clock } = identities([billing, undefined])
    const open = socket()
    await known.callerOf(open)
    clock.nowMs = 999
    await known.callerOf(open)
    expect(asked).toHaveLength(1)
    clock.nowMs = 1000
    await expect(known.callerOf(open)).rejects.toMatchObject({ code: 'unauthenticated' })
  })

  it.each([
    ['no certificate', socket({ fingerprint: '' })],
    ['a certificate of a foreign CA', socket({ authorized: false })],
    ['a certificate of another CA under the same root (a card’s)', socket({ isIssued: false })],
    ['a certificate that only bears the callers’ CA’s name', socket({ isSigned: false })],
  ])('nobody: %s, and the registrations are not even asked', async (_what, connection) => {
    const { known, asked } = identities([billing])
    await expect(known.callerOf(connection)).rejects.toMatchObject({ code: 'unauthenticated' })
    expect(asked).toEqual([])
  })

  it('a look-up that fails is not remembered', async () => {
    let calls = 0
    const known = new Identities({
      issuer,
      find: () => (++calls === 1 ? Promise.reject(new Error('database away')) : Promise.resolve(billing)),
      nowMs: () => 0,
    })
    await expect(known.callerOf(socket())).rejects.toThrow('database away')
    await Promise.resolve()
    expect((await known.callerOf(socket())).name).toBe('billing')
  })
})
