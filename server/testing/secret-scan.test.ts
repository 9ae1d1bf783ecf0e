import { randomBytes } from 'node:crypto'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { SecretScan } from './secret-scan.ts'

const key = randomBytes(16)
const pin = randomBytes(24).toString('base64url')
const scan = new SecretScan().add('key', key).add('pin', pin)
const names = (bytes: Buffer): string[] => [...new Set(scan.bytes(bytes, 'here').map(({ secret }) => secret))]
const amid = (bytes: Uint8Array): Buffer => Buffer.concat([randomBytes(1000), bytes, randomBytes(1000)])

describe('the scan for secrets finds', () => {
  it.each<[string, (secret: Buffer) => Uint8Array]>([
    ['raw bytes', (secret) => secret],
    ['a little-endian number', (secret) => Buffer.from(secret.toReversed())],
    ['hex', (secret) => Buffer.from(secret.toString('hex'))],
    ['upper-case hex', (secret) => Buffer.from(secret.toString('hex').toUpperCase())],
    ['hex in a two-byte string', (secret) => Buffer.from(secret.toString('hex'), 'utf16le')],
    ['base64', (secret) => Buffer.from(secret.toString('base64'))],
    ['base64url in a two-byte string', (secret) => Buffer.from(secret.toString('base64url'), 'utf16le')],
    ['base64 of something that holds it', (secret) => Buffer.from(Buffer.concat([Buffer.from('x'), secret, Buffer.from('yz')]).toString('base64'))],
    ['base64 of something else that holds it', (secret) => Buffer.from(Buffer.concat([Buffer.from('xy'), secret, Buffer.from('z')]).toString('base64'))],
  ])('%s', (_form, write) => {
    expect(names(amid(write(key)))).toEqual(['key'])
    expect(names(amid(write(Buffer.from(pin))))).toEqual(['pin'])
  })

  it('base64 with a line break in it, wherever that is', () => {
    for (let before = 0; before < 64; before++) {
      const lines = Buffer.concat([Buffer.alloc(before, 'x'), key, Buffer.alloc(40, 'y')])
        .toString('base64')
        .match(/.{1,64}/g)
      expect(names(Buffer.from(lines?.join('\n') ?? ''))).toEqual(['key'])
    }
  })

  it('what lies at the very beginning and the very end', () => {
    expect(scan.bytes(Buffer.concat([key, key]), 'here', 100).map(({ offset }) => offset)).toEqual([100, 116])
    expect(scan.text(`PIN ${pin}`, 'line 1')).toMatchObject([{ secret: 'pin', form: 'raw', place: 'line 1', offset: 4 }])
  })

  it('what lies across the blocks of a large file', () => {
    const folder = mkdtempSync(join(tmpdir(), 'gridseal-scan-'))
    const bytes = Buffer.alloc(20 * 1024 * 1024)
    for (const at of [8 * 1024 * 1024 - 7, 16 * 1024 * 1024 - 300]) key.copy(bytes, at)
    writeFileSync(join(folder, 'large'), bytes)
    const offsets = new Set(scan.folder(folder).map(({ offset }) => offset))
    rmSync(folder, { recursive: true })
    expect([...offsets]).toEqual([8 * 1024 * 1024 - 7, 16 * 1024 * 1024 - 300])
  })

  it('nothing where nothing is', () => {
    expect(names(randomBytes(4 * 1024 * 1024))).toEqual([])
    expect(names(amid(key.subarray(0, 15)))).toEqual([])
  })

  it('no secret that is too short to tell', () => {
    expect(() => scan.add('short', randomBytes(8))).toThrow(RangeError)
  })
})
