import { generateKeyPairSync, sign } from 'node:crypto'
import { describe, expect, it } from 'vitest'
import { utf8 } from '../../core/bytes.ts'
import * as node from '../../core/public-key.ts'
import * as browser from './public-key.ts'

const message = utf8('over these')
const ed = generateKeyPairSync('ed25519')
const ec = generateKeyPairSync('ec', { namedCurve: 'P-256' })
const spki = (key: { readonly publicKey: typeof ed.publicKey }): Uint8Array => key.publicKey.export({ format: 'der', type: 'spki' })

/** What both say. */
async function said(key: Uint8Array, signature: Uint8Array, over = message): Promise<boolean> {
  const inNode = node.readPublicKey(key)?.verifies(over, signature) ?? false
  const inBrowser = await browser.settled(() => browser.readPublicKey(key)?.verifies(over, signature) ?? false)
  expect(inBrowser).toBe(inNode)
  return inNode
}

describe('public keys in a browser', () => {
  it('of Ed25519 verify as in Node: whole signatures, and none with a byte changed', async () => {
    const signature = sign(null, message, ed.privateKey)
    expect(await said(spki(ed), signature)).toBe(true)
    expect(await said(spki(ed), signature, utf8('over others'))).toBe(false)
    expect(await said(spki(ed), signature.subarray(1))).toBe(false)
    expect(await said(spki(ed), new Uint8Array())).toBe(false)
    for (let at = 0; at < 64; at += 1)
      expect(
        await said(
          spki(ed),
          signature.map((byte, place) => (place === at ? byte ^ 4 : byte)),
        ),
      ).toBe(false)
  })

  it('of P-256 verify as in Node, whatever the lengths of r and s', async () => {
    for (let at = 0; at < 200; at += 1) expect(await said(spki(ec), sign('sha256', message, ec.privateKey))).toBe(true)
  })

  it('of P-256 verify no signature with a byte changed, left out or added', async () => {
    const signature = sign('sha256', message, ec.privateKey)
    for (let at = 0; at < signature.length; at += 1) {
      expect(
        await said(
          spki(ec),
          signature.map((byte, place) => (place === at ? byte ^ 1 : byte)),
        ),
      ).toBe(false)
      await said(spki(ec), Buffer.concat([signature.subarray(0, at), signature.subarray(at + 1)]))
    }
    expect(await said(spki(ec), Buffer.concat([signature, Buffer.of(0)]))).toBe(false)
    expect(await said(spki(ec), Buffer.of())).toBe(false)
  })

  it('are read in one form', () => {
    expect(browser.readPublicKey(spki(ed))?.algorithm).toBe('ed25519')
    expect(browser.readPublicKey(spki(ec))?.algorithm).toBe('ecdsa-p256')
    const p384 = spki(generateKeyPairSync('ec', { namedCurve: 'P-384' }))
    for (const other of [p384, spki(ed).subarray(1), Buffer.concat([spki(ec), Buffer.of(0)]), new Uint8Array()])
      expect(browser.readPublicKey(other)).toBeUndefined()
  })

  it('of a point beside the curve verify nothing', async () => {
    const beside = spki(ec).map((byte, at) => (at === 90 ? byte ^ 1 : byte))
    expect(node.readPublicKey(beside)).toBeUndefined()
    expect(await said(beside, sign('sha256', message, ec.privateKey))).toBe(false)
  })

  it('throw what the work throws, and ask again only for signatures', async () => {
    let runs = 0
    await expect(
      browser.settled(() => {
        runs += 1
        throw new RangeError('its own')
      }),
    ).rejects.toThrow('its own')
    expect(runs).toBe(1)
    expect(() => browser.readPublicKey(spki(ed))?.verifies(message, new Uint8Array(64).fill(9))).toThrow('not checked yet')
  })
})
