import { sha256 as digest } from '@noble/hashes/sha2.js'

/** What core/bytes.ts is in a browser: the same functions without Node. */

export const utf8 = (text: string): Uint8Array => new TextEncoder().encode(text)
export const fromUtf8 = (bytes: Uint8Array): string => new TextDecoder('utf-8', { ignoreBOM: true }).decode(bytes)

/** In pieces: a call takes so many arguments and no more. */
export function fromLatin1(bytes: Uint8Array): string {
  let text = ''
  for (let at = 0; at < bytes.length; at += 8192) text += String.fromCharCode(...bytes.subarray(at, at + 8192))
  return text
}

export const hex = (bytes: Uint8Array): string => Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('')
export const fromHex = (text: string): Uint8Array =>
  Uint8Array.from(/^(?:[0-9a-f]{2})*/i.exec(text)?.[0].match(/../g) ?? [], (pair) => Number.parseInt(pair, 16))

export const base64 = (bytes: Uint8Array): string => btoa(fromLatin1(bytes))
export function fromStrictBase64(text: string): Uint8Array | undefined {
  if (text.length % 4 !== 0 || !/^[A-Za-z0-9+/]*={0,2}$/.test(text)) return undefined
  let octets: string
  try {
    octets = atob(text)
  } catch {
    return undefined
  }
  return btoa(octets) === text ? Uint8Array.from(octets, (octet) => octet.charCodeAt(0)) : undefined
}
export const base64url = (bytes: Uint8Array): string => base64(bytes).replaceAll('+', '-').replaceAll('/', '_').replaceAll('=', '')

export function concat(...parts: readonly Uint8Array[]): Uint8Array {
  const out = new Uint8Array(parts.reduce((total, part) => total + part.length, 0))
  let at = 0
  for (const part of parts) {
    out.set(part, at)
    at += part.length
  }
  return out
}

export const equalBytes = (a: Uint8Array, b: Uint8Array): boolean => a.length === b.length && a.every((byte, at) => byte === b[at])

export const sha256 = (...parts: readonly Uint8Array[]): Uint8Array => digest(parts.length === 1 && parts[0] ? parts[0] : concat(...parts))

export function frame(fields: readonly (Uint8Array | string)[]): Uint8Array {
  return concat(
    ...fields.flatMap((field) => {
      const part = typeof field === 'string' ? utf8(field) : field
      const length = new Uint8Array(4)
      new DataView(length.buffer).setUint32(0, part.length)
      return [length, part]
    }),
  )
}
