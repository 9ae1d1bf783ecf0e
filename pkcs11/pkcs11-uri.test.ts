import { describe, expect, it } from 'vitest'
import { parsePkcs11Uri } from './pkcs11-uri.ts'

const MODULE = '?module-path=/usr/lib/m.so'

describe('a PKCS#11 URI (RFC 7512)', () => {
  it('names module, token, serial and PIN file', () => {
    expect(parsePkcs11Uri(`pkcs11:token=My%20token;serial=00ff${MODULE}&pin-source=file:/etc/a%20pin`)).toEqual({
      modulePath: '/usr/lib/m.so',
      token: 'My token',
      serial: '00ff',
      pinSource: '/etc/a pin',
    })
    expect(parsePkcs11Uri(`pkcs11:serial=1${MODULE}&pin-source=file:///p`)).toEqual({ modulePath: '/usr/lib/m.so', serial: '1', pinSource: '/p' })
    expect(parsePkcs11Uri(`pkcs11:serial=1${MODULE}&pin-source=prompt`)).toEqual({ modulePath: '/usr/lib/m.so', serial: '1', pinSource: 'prompt' })
    expect(parsePkcs11Uri(`pkcs11:serial=1${MODULE}&pin-source=env:TOKEN_PIN`)).toEqual({
      modulePath: '/usr/lib/m.so',
      serial: '1',
      pinSource: 'env:TOKEN_PIN',
    })
    expect(parsePkcs11Uri(`pkcs11:token=%C3%A9${MODULE}`)).toEqual({ modulePath: '/usr/lib/m.so', token: 'é' })
  })

  it.each([
    ['http://token', 'it begins with'],
    [`pkcs11:${MODULE}`, 'it names a token'],
    ['pkcs11:token=a', 'module-path'],
    ['pkcs11:token=a?module-path=relative.so', 'module-path'],
    [`pkcs11:token=a${MODULE}&pin-value=1234`, 'pin-value is refused'],
    [`pkcs11:token=a${MODULE}&pin-source=%7Ccat%20pin`, 'pin-source'],
    [`pkcs11:token=a${MODULE}&pin-source=file:relative`, 'pin-source'],
    [`pkcs11:token=a${MODULE}&pin-source=https://host/pin`, 'pin-source'],
    [`pkcs11:token=a${MODULE}&pin-source=env:`, 'pin-source'],
    [`pkcs11:token=a${MODULE}&pin-source=env:TOKEN%20PIN`, 'pin-source'],
    [`pkcs11:token=a${MODULE}&pin-source=env:1PIN`, 'pin-source'],
    [`pkcs11:token=a;token=b${MODULE}`, 'stands twice'],
    [`pkcs11:token=a;object=key${MODULE}`, 'not supported'],
    [`pkcs11:token=a${MODULE}&module-name=x`, 'not supported'],
    [`pkcs11:token=%zz${MODULE}`, 'percent sign'],
    [`pkcs11:token=%ff${MODULE}`, 'percent sign'],
    [`pkcs11:token${MODULE}`, 'name=value'],
    [`pkcs11:token=a${MODULE}?x=y`, 'more than one question mark'],
  ])('refuses %s', (uri, message) => {
    expect(() => parsePkcs11Uri(uri)).toThrow(message)
  })

  it('never repeats a PIN in its message', () => {
    expect(() => parsePkcs11Uri(`pkcs11:token=a${MODULE}&pin-value=s3cr3t`)).toThrow(
      expect.not.objectContaining({ message: expect.stringContaining('s3cr3t') as string }) as Error,
    )
  })
})
