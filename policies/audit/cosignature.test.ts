import { generateKeyPairSync, sign } from 'node:crypto'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { base64, concat, hex, sha256, utf8 } from '../../core/bytes.ts'
import { checkpointText, NoteError } from './checkpoint.ts'
import { cosignatureLine, cosignedMessage, openCosignatures, parseWitnessKey, withSignatures, witnessKey } from './cosignature.ts'
import { splitNote } from './note.ts'
import { testLog, testWitness } from './testing/test-witness.ts'

/** The example of C2SP tlog-cosignature. Its keys are not published, so that only its form can be checked. */
const EXAMPLE_TEXT = 'example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n'
const EXAMPLE_LOG = '\u2014 example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8='
const EXAMPLE_WITNESS = '\u2014 witness.example.com/w1 jWbPPwAAAABkGFDLEZMHwSRaJNiIDoe9DYn/zXcrtPHeolMI5OWXEhZCB9dlrDJsX3b2oyin1nPZqhf5nNo0xUe+mbIUBkBIfZ+qnA=='
const EXAMPLE_MESSAGE = 'cosignature/v1\ntime 1679315147\nexample.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n'

const TEXT = checkpointText({ origin: 'grid.example/audit', size: 7, root: new Uint8Array(32).fill(7) })
const note = testLog('grid.example/audit').note(TEXT)

describe('the published example', () => {
  it('is framed and worded as we do it', () => {
    const { text, signatures } = splitNote(`${EXAMPLE_TEXT}\n${EXAMPLE_LOG}\n${EXAMPLE_WITNESS}\n`)
    const { id, name, signature } = signatures[1] ?? { id: '', name: '', signature: new Uint8Array() }
    expect([id, name, signature.length]).toEqual(['8d66cf3f', 'witness.example.com/w1', 72])
    const timestamp = Number(Buffer.from(signature).readBigUInt64BE(0))
    expect(Buffer.from(cosignedMessage(text, timestamp)).toString()).toBe(EXAMPLE_MESSAGE)
    const key = { ...testWitness(name).key, id }
    expect(cosignatureLine(key, timestamp, signature.subarray(8))).toBe(EXAMPLE_WITNESS)
  })
})

describe('keys of witnesses', () => {
  it('have an id over name, type 0x04 and key, and go through their text form', () => {
    const { publicKey } = generateKeyPairSync('ed25519')
    const spki = publicKey.export({ format: 'der', type: 'spki' })
    const key = witnessKey('witness.example/w1', spki)
    const encoded = concat(Buffer.of(4), spki.subarray(12))
    expect(key.id).toBe(hex(sha256(utf8('witness.example/w1\n'), encoded).subarray(0, 4)))
    expect(key.vkey).toBe(`witness.example/w1+${key.id}+${base64(encoded)}`)
    expect(parseWitnessKey(key.vkey).publicKey.equals(publicKey)).toBe(true)
  })

  const { vkey, name, id } = testWitness('witness.example/w1').key
  it.each([
    ['a log\u2019s', testLog('witness.example/w1').key.vkey, 'type 0x04'],
    ['one of ML-DSA-44', `w+00000000+${base64(concat(Buffer.of(6), new Uint8Array(1312)))}`, 'ML-DSA-44'],
    ['another\u2019s id', vkey.replace(id, id === '00000000' ? '00000001' : '00000000'), 'not its hash'],
    ['another name', vkey.replace(name, 'witness.example/w2'), 'not its hash'],
    ['a short key', `${name}+${id}+${base64(Buffer.of(4, 1, 2))}`, '32 bytes'],
    ['an empty key', `${name}+${id}+`, 'form'],
    ['no key', 'witness.example/w1', 'form'],
  ])('%s is refused', (_what, text, message) => {
    expect(() => parseWitnessKey(text)).toThrow(NoteError)
    expect(() => parseWitnessKey(text)).toThrow(message)
  })

  it('of another algorithm are refused', () => {
    const { publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
    expect(() => witnessKey('w', publicKey.export({ format: 'der', type: 'spki' }))).toThrow('Ed25519')
  })
})

describe('cosignatures', () => {
  const [one, two, stranger] = [testWitness('w.example/1'), testWitness('w.example/2'), testWitness('w.example/3')]

  it('are found among those of strangers, with their times', () => {
    const whole = withSignatures(note, [stranger.cosign(TEXT, 5), two.cosign(TEXT, 1_700_000_000), one.cosign(TEXT, 0)])
    const found = openCosignatures(whole, [one.key, two.key])
    expect(found.map(({ key, timestamp }) => [key.name, timestamp])).toEqual([
      ['w.example/2', 1_700_000_000],
      ['w.example/1', 0],
    ])
    expect(openCosignatures(note, [one.key])).toEqual([])
  })

  it('sign exactly the bytes of the specification', () => {
    const { publicKey, privateKey } = generateKeyPairSync('ed25519')
    const key = witnessKey('w', publicKey.export({ format: 'der', type: 'spki' }))
    const time = Buffer.from('00000000641850cb', 'hex')
    const signature = sign(null, Buffer.from(`cosignature/v1\ntime 1679315147\n${TEXT}`), privateKey)
    const line = `\u2014 w ${base64(concat(Buffer.from(key.id, 'hex'), time, signature))}`
    expect(openCosignatures(`${note}${line}\n`, [key])).toMatchObject([{ timestamp: 1_679_315_147, line }])
  })

  it('count once a witness, the latest', () => {
    const whole = withSignatures(note, [one.cosign(TEXT, 9), one.cosign(TEXT, 12), one.cosign(TEXT, 3)])
    expect(openCosignatures(whole, [one.key]).map(({ timestamp }) => timestamp)).toEqual([12])
  })

  it('that do not hold reject the note, whatever byte was changed', () => {
    const good = splitNote(withSignatures(note, [one.cosign(TEXT, 77)])).signatures[1]?.signature ?? new Uint8Array()
    fc.assert(
      fc.property(fc.nat(good.length - 1), fc.integer({ min: 1, max: 255 }), (at, flip) => {
        const bad = Uint8Array.from(good, (byte, index) => (index === at ? byte ^ flip : byte))
        const line = `\u2014 ${one.key.name} ${base64(concat(Buffer.from(one.key.id, 'hex'), bad))}`
        expect(() => openCosignatures(`${note}${line}\n`, [one.key])).toThrow(NoteError)
      }),
    )
  })

  it('of another checkpoint, cut short, or under a borrowed name and id are refused', () => {
    const other = TEXT.replace('\n7\n', '\n8\n')
    expect(() => openCosignatures(withSignatures(note, [one.cosign(other, 1)]), [one.key])).toThrow('does not verify')
    const short = `\u2014 ${one.key.name} ${base64(concat(Buffer.from(one.key.id, 'hex'), new Uint8Array(71)))}`
    expect(() => openCosignatures(`${note}${short}\n`, [one.key])).toThrow('72 bytes')
    const borrowed = cosignatureLine(one.key, 1, new Uint8Array(64))
    expect(() => openCosignatures(`${note}${borrowed}\n`, [one.key])).toThrow('does not verify')
  })

  it('are added to a note once', () => {
    const line = one.cosign(TEXT, 1)
    const once = withSignatures(note, [line, line])
    expect(once).toBe(`${note}${line}\n`)
    expect(withSignatures(once, [line])).toBe(once)
  })
})
