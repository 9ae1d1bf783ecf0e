import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { base64, fromBase64, sha256, utf8 } from '../../core/bytes.ts'
import { encodeProof, parseProof, type ProofFile, ProofFileError } from './proof-file.ts'

const h1 = sha256(utf8('hash1'))
const h2 = sha256(utf8('hash2'))
const HEADER = 'c2sp.org/tlog-proof@v1'

const hashes = fc.uint8Array({ minLength: 32, maxLength: 32 })
const notes = fc.string({ unit: 'binary', minLength: 1, maxLength: 200 }).map((text) => `o${text}\n`)
const proofs: fc.Arbitrary<ProofFile> = fc
  .record(
    {
      index: fc.maxSafeNat(),
      hashes: fc.array(hashes, { maxLength: 53 }),
      note: notes,
      extra: fc.uint8Array({ minLength: 1, maxLength: 100 }),
    },
    { requiredKeys: ['index', 'hashes', 'note'] },
  )
  .map(({ extra, ...proof }) => (extra === undefined ? proof : { ...proof, extra }))

/** Bytes without regard to which class holds them. */
const plain = ({ index, hashes: path, note, extra }: ProofFile) => ({ index, note, hashes: path.map(base64), extra: extra && base64(extra) })

describe('the proof file', () => {
  // https://c2sp.org/tlog-proof, the example, with its first signature alone. Signatures are elided there.
  it('reads the example of the specification', () => {
    const path = [
      'gSKyXoYZUgZ6jduWYrkDOARinOMGJveXjgMkBTcdPlQ=',
      'B95lDa8R83lS8n0eG+o0buTxRKQTYFi//1U8anccXmA=',
      'EKNzoDWG8LGC0Yp9o+sv3qllpMP9uHQ9B20KNL+Q1zs=',
      'RoopEkOdqkYqMB4MJXrbt/hMjOxsVn0IrWjpz1ZMMes=',
      'AHCioX9nLjsrse6YhjRRmk1WUEirVOLLRoOQ6vfO5vk=',
    ]
    const note = 'example.com/fancylog\n109482\nsFodV/vSp5O8n9a8QpW6PRY97tfOSW5bsc2Xl/EQi08=\n\n\u2014 example.com/fancylog hI2DJw[...]1roloI=\n'
    const extra = 'YWdlLXYxLjIuMS1kYXJ3aW4tYXJtNjQudGFyLmd6kYXJ3aW4tYXJ'
    const text = `${HEADER}\nextra ${extra}\nindex 73894\n${path.join('\n')}\n\n${note}`
    expect(plain(parseProof(text))).toEqual({ index: 73894, hashes: path, note, extra })
    expect(encodeProof(parseProof(text))).toBe(text)
  })

  // The values of TestMarshal in github.com/transparency-dev/formats/proof v0.1.1 (tlog_proof_test.go).
  it('writes what the Go implementation writes', () => {
    expect(encodeProof({ index: 5, hashes: [h1, h2], note: 'test checkpoint\n' })).toBe(`${HEADER}\nindex 5\n${base64(h1)}\n${base64(h2)}\n\ntest checkpoint\n`)
    expect(encodeProof({ index: 10, hashes: [h1], note: 'checkpoint data\n', extra: utf8('extra information') })).toBe(
      `${HEADER}\nextra ZXh0cmEgaW5mb3JtYXRpb24=\nindex 10\n${base64(h1)}\n\ncheckpoint data\n`,
    )
    expect(encodeProof({ index: 0, hashes: [], note: 'checkpoint\n' })).toBe(`${HEADER}\nindex 0\n\ncheckpoint\n`)
  })

  it('reads back what it writes', () => {
    fc.assert(
      fc.property(proofs, (proof) => {
        expect(plain(parseProof(encodeProof(proof)))).toEqual(plain(proof))
      }),
    )
  })

  it('has one text for one proof: what it reads of a changed text, it would write so', () => {
    const edits = fc.record({ at: fc.nat(), remove: fc.nat(3), put: fc.oneof(fc.string({ maxLength: 3 }), fc.constantFrom('\n', '\r', '=', ' ', '0', '\n\n')) })
    fc.assert(
      fc.property(proofs, fc.array(edits, { minLength: 1, maxLength: 3 }), (proof, changes) => {
        const text = changes.reduce((before, { at, remove, put }) => {
          const place = at % before.length
          return before.slice(0, place) + put + before.slice(place + remove)
        }, encodeProof(proof))
        let read: ProofFile
        try {
          read = parseProof(text)
        } catch (error) {
          expect(error).toBeInstanceOf(ProofFileError)
          return
        }
        expect(encodeProof(read)).toBe(text)
      }),
      { numRuns: 500 },
    )
  })

  const line = base64(h1)
  it.each([
    ['nothing', ''],
    ['a header alone', `${HEADER}\n`],
    ['another version', `c2sp.org/tlog-proof@v2\nindex 0\n\ncp\n`],
    ['a byte order mark', `\ufeff${HEADER}\nindex 0\n\ncp\n`],
    ['carriage returns', `${HEADER}\r\nindex 0\r\n\r\ncp\r\n`],
    ['no index', `${HEADER}\n\n\ncp\n`],
    ['an index of letters', `${HEADER}\nindex one\n\ncp\n`],
    ['a leading zero', `${HEADER}\nindex 007\n\ncp\n`],
    ['a sign', `${HEADER}\nindex -5\n\ncp\n`],
    ['two spaces', `${HEADER}\nindex  5\n\ncp\n`],
    ['digits of another script', `${HEADER}\nindex \u0663\n\ncp\n`],
    ['an index that no number holds', `${HEADER}\nindex 9007199254740993\n\ncp\n`],
    ['an endless index', `${HEADER}\nindex ${'9'.repeat(400)}\n\ncp\n`],
    ['extra after the index', `${HEADER}\nindex 0\nextra YQ==\n\ncp\n`],
    ['extra twice', `${HEADER}\nextra YQ==\nextra YQ==\nindex 0\n\ncp\n`],
    ['empty extra', `${HEADER}\nextra \nindex 0\n\ncp\n`],
    ['extra that is not base64', `${HEADER}\nextra !!\nindex 0\n\ncp\n`],
    ['extra with stray bits', `${HEADER}\nextra YR==\nindex 0\n\ncp\n`],
    ['too much extra', `${HEADER}\nextra ${base64(new Uint8Array(65_536))}\nindex 0\n\ncp\n`],
    ['a hash that is not base64', `${HEADER}\nindex 0\n${'!'.repeat(43)}=\n\ncp\n`],
    ['a hash with stray bits', `${HEADER}\nindex 0\nypeBEsobvcr6wjGzmiPcTaeG7/gUfE5yuYB3ha/uSLt=\n\ncp\n`],
    ['a short hash', `${HEADER}\nindex 0\n${line.slice(4)}\n\ncp\n`],
    ['a long hash', `${HEADER}\nindex 0\n${base64(new Uint8Array(64))}\n\ncp\n`],
    ['a hash with a space after it', `${HEADER}\nindex 0\n${line} \n\ncp\n`],
    ['54 hashes', `${HEADER}\nindex 0\n${`${line}\n`.repeat(54)}\ncp\n`],
    ['no checkpoint', `${HEADER}\nindex 0\n${line}\n\n`],
    ['a checkpoint that is cut off', `${HEADER}\nindex 0\n${line}\n\norigin\n12`],
    ['two blank lines', `${HEADER}\nindex 0\n${line}\n\n\ncp\n`],
    ['a checkpoint without end', `${HEADER}\nindex 0\n\n${'a'.repeat(1_000_001)}\n`],
    ['a text without end', `${HEADER}\n`.repeat(100_000)],
  ])('refuses %s', (_, text) => {
    expect(() => parseProof(text)).toThrow(ProofFileError)
  })

  it.each<[string, ProofFile]>([
    ['a fraction as index', { index: 0.5, hashes: [], note: 'cp\n' }],
    ['a negative index', { index: -1, hashes: [], note: 'cp\n' }],
    ['a hash of 31 bytes', { index: 0, hashes: [h1.subarray(1)], note: 'cp\n' }],
    ['no note', { index: 0, hashes: [], note: '' }],
    ['a note that begins with a blank line', { index: 0, hashes: [], note: '\ncp\n' }],
    ['empty extra', { index: 0, hashes: [], note: 'cp\n', extra: fromBase64('') }],
  ])('does not write %s', (_, proof) => {
    expect(() => encodeProof(proof)).toThrow(ProofFileError)
  })
})
