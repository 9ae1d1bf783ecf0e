import type { IncomingMessage } from 'node:http'
import { describe, expect, it } from 'vitest'
import { assertSameOrigin, clearedSessionCookie, deviceCookie, readCookie, SESSION_COOKIE, sessionCookie } from './session-cookie.ts'

const request = (method: string, headers: Record<string, string>): IncomingMessage =>
  ({ method, headers: { host: 'pki.grid.example:8443', ...headers } }) as never

describe('a session’s cookie', () => {
  it('is this host’s alone, over TLS, unseen by scripts, sent by no other site', () => {
    expect(sessionCookie('TOKEN')).toBe('__Host-gridseal-session=TOKEN; Path=/; Secure; HttpOnly; SameSite=Strict')
    expect(deviceCookie('D')).toBe('__Host-gridseal-device=D; Max-Age=31536000; Path=/; Secure; HttpOnly; SameSite=Strict')
    expect(clearedSessionCookie()).toBe('__Host-gridseal-session=; Max-Age=0; Path=/; Secure; HttpOnly; SameSite=Strict')
  })

  it.each([
    [`${SESSION_COOKIE}=abc`, 'abc'],
    [`a=b; ${SESSION_COOKIE}=abc; c=d`, 'abc'],
    [`${SESSION_COOKIE}=a=b`, 'a=b'],
    [`${SESSION_COOKIE}=abc; ${SESSION_COOKIE}=def`, undefined],
    [`${SESSION_COOKIE}=`, undefined],
    [`x${SESSION_COOKIE}=abc`, undefined],
    [`gridseal-session=abc`, undefined],
    [SESSION_COOKIE, undefined],
    ['', undefined],
  ])('is read from %j as %j', (cookie, value) => {
    expect(readCookie(request('GET', { cookie }), SESSION_COOKIE)).toBe(value)
  })
})

describe('a request with a cookie', () => {
  const origin = 'https://pki.grid.example:8443'
  it.each([
    ['POST', { 'sec-fetch-site': 'same-origin' }],
    ['POST', { origin }],
    ['GET', { 'sec-fetch-site': 'same-origin' }],
    ['GET', { 'sec-fetch-site': 'none' }],
    ['GET', {}],
    ['GET', { origin }],
  ])('comes from a page of the service: %s %j', (method, headers) => {
    expect(() => assertSameOrigin(request(method, headers as never))).not.toThrow()
  })

  it.each([
    ['POST', {}],
    ['POST', { 'sec-fetch-site': 'cross-site' }],
    ['POST', { 'sec-fetch-site': 'same-site' }],
    ['POST', { 'sec-fetch-site': 'none' }],
    ['POST', { 'sec-fetch-site': 'cross-site', origin }],
    ['POST', { 'sec-fetch-site': 'SAME-ORIGIN' }],
    ['POST', { origin: 'https://evil.example' }],
    ['POST', { origin: 'http://pki.grid.example:8443' }],
    ['POST', { origin: 'https://pki.grid.example' }],
    ['POST', { origin: 'null' }],
    ['GET', { 'sec-fetch-site': 'cross-site' }],
    ['GET', { 'sec-fetch-site': 'same-site' }],
    ['GET', { origin: 'https://evil.example' }],
  ])('does not: %s %j', (method, headers) => {
    expect(() => assertSameOrigin(request(method, headers as never))).toThrow(/did not come from a page/)
  })
})
