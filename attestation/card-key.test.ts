import { generateKeyPairSync } from 'node:crypto'
import { describe, expect, it } from 'vitest'
import { cardKey } from './card-key.ts'

const spkiOf = (namedCurve: string): Buffer => generateKeyPairSync('ec', { namedCurve }).publicKey.export({ format: 'der', type: 'spki' })

const OFF_THE_CURVE = expect.objectContaining({ name: 'DataError' })

describe('the key of a card', () => {
  it('is the key of its SPKI', async () => {
    for (let round = 0; round < 20; round++) {
      const spki = spkiOf('P-256')
      expect((await cardKey(spki)).export({ format: 'der', type: 'spki' })).toEqual(spki)
    }
  })

  it('is of P-256, uncompressed and whole', async () => {
    const spki = spkiOf('P-256')
    const compressed = Buffer.from(spki)
    compressed[26] = 2
    const others = [spkiOf('P-384'), spkiOf('secp256k1'), generateKeyPairSync('ed25519').publicKey.export({ format: 'der', type: 'spki' })]
    for (const other of [...others, compressed, spki.subarray(0, -1), Buffer.concat([spki, Buffer.of(0)]), Buffer.alloc(0)]) {
      await expect(cardKey(other)).rejects.toThrow(RangeError)
    }
  })

  it('is a point on the curve', async () => {
    const spki = spkiOf('P-256')
    spki[90] = (spki[90] ?? 0) ^ 1
    await expect(cardKey(spki)).rejects.toThrow(OFF_THE_CURVE)
    await expect(cardKey(Buffer.concat([spki.subarray(0, 27), Buffer.alloc(64)]))).rejects.toThrow(OFF_THE_CURVE)
  })
})
