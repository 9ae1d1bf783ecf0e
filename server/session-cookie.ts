import type { IncomingMessage } from 'node:http'
import { Problem } from '../core/problem.ts'

/** `__Host-`: set by this host alone, over TLS, for all paths (RFC 6265bis 4.1.3.2). */
export const SESSION_COOKIE = '__Host-gridseal-session'
/** See the throttle of logins: it lets nobody in. */
export const DEVICE_COOKIE = '__Host-gridseal-device'

const ATTRIBUTES = 'Path=/; Secure; HttpOnly; SameSite=Strict'
const DEVICE_SECONDS = 365 * 86_400

/** Gone when the browser is closed; the service ends it earlier. */
export const sessionCookie = (token: string): string => `${SESSION_COOKIE}=${token}; ${ATTRIBUTES}`
export const deviceCookie = (device: string): string => `${DEVICE_COOKIE}=${device}; Max-Age=${String(DEVICE_SECONDS)}; ${ATTRIBUTES}`
export const clearedSessionCookie = (): string => `${SESSION_COOKIE}=; Max-Age=0; ${ATTRIBUTES}`

/** A cookie's value. One that is there twice is none: somebody else set one of them. */
export function readCookie({ headers }: IncomingMessage, name: string): string | undefined {
  const values = (headers.cookie ?? '').split(';').flatMap((pair) => {
    const at = pair.indexOf('=')
    return pair.slice(0, at).trim() === name ? [pair.slice(at + 1).trim()] : []
  })
  return values.length === 1 && values[0] !== '' ? values[0] : undefined
}

/**
 * That a request with a cookie comes from a page of this service: browsers send cookies whoever made them do it, and SameSite is not all there is between two
 * pages of one site. By Sec-Fetch-Site where the browser tells it, else by Origin. What changes nothing may also come from nowhere, as from an address that was typed.
 * Throws `cross-site`.
 */
export function assertSameOrigin({ method, headers }: IncomingMessage): void {
  const isSafe = method === 'GET'
  const site = headers['sec-fetch-site']
  if (site === 'same-origin' || (site === 'none' && isSafe)) return
  if (site === undefined) {
    if (headers.origin === undefined ? isSafe : headers.origin === `https://${headers.host ?? ''}`) return
  }
  throw new Problem('cross-site', 'This request with a cookie did not come from a page of this service. Nothing was done.')
}
