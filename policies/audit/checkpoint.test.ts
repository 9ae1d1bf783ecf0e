import { generateKeyPairSync, type KeyObject, sign } from 'node:crypto'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { base64, hex, sha256, utf8 } from '../../core/bytes.ts'
import { checkpointText, type LogKey, logKey, NoteError, openCheckpoint, openNote, parseCheckpoint, parseLogKey, signedNote } from './checkpoint.ts'

/** The example of golang.org/x/mod/sumdb/note, whose format C2SP signed-note is. */
const EXAMPLE_KEY = 'PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW'
const EXAMPLE = `If you think cryptography is the answer to your problem,
then you don't know what your problem is.

\u2014 PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=
`
/** The example of C2SP tlog-checkpoint v1.0.0. Its key is not published, so only its text is read. */
const EXAMPLE_CHECKPOINT = 'example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n'

const spkiOf = (key: KeyObject): Uint8Array => key.export({ format: 'der', type: 'spki' })

function signer(algorithm: 'ed25519' | 'ecdsa-p256', name = 'grid.example/audit'): { key: LogKey; note: (text: string) => string } {
  const pair = algorithm === 'ed25519' ? generateKeyPairSync('ed25519') : generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const key = logKey(name, algorithm, spkiOf(pair.publicKey))
  return { key, note: (text) => signedNote(text, key, sign(algorithm === 'ed25519' ? null : 'sha256', utf8(text), pair.privateKey)) }
}

describe('signed notes', () => {
  it('opens the published example', () => {
    expect(openNote(EXAMPLE, parseLogKey(EXAMPLE_KEY))).toMatch(/^If you think [^]*problem is\.\n$/)
    expect(parseLogKey(EXAMPLE_KEY).vkey).toBe(EXAMPLE_KEY)
  })

  it('takes the id of an Ed25519 key from name, type and key, and that of an ECDSA key from its SPKI alone', () => {
    const ed = signer('ed25519').key
    const raw = ed.publicKey.spki.subarray(12)
    expect(ed.id).toBe(hex(sha256(utf8('grid.example/audit\n'), Buffer.of(1), raw).subarray(0, 4)))
    const ec = signer('ecdsa-p256').key
    expect(ec.id).toBe(hex(sha256(ec.publicKey.spki).subarray(0, 4)))
    expect(ec.vkey).toBe(`grid.example/audit+${ec.id}+${base64(Buffer.concat([Buffer.of(2), ec.publicKey.spki]))}`)
  })

  it.each(['ed25519', 'ecdsa-p256'] as const)('round-trips a checkpoint signed with %s', (algorithm) => {
    const { key, note } = signer(algorithm)
    const read = parseLogKey(key.vkey)
    fc.assert(
      fc.property(fc.nat(), fc.uint8Array({ minLength: 32, maxLength: 32 }), (size, root) => {
        const signed = note(checkpointText({ origin: key.name, size, root }))
        const opened = openCheckpoint(signed, read)
        expect([opened.origin, opened.size, hex(opened.root)]).toEqual([key.name, size, hex(root)])
        const flipped = signed.replace(`\n${size}\n`, `\n${size + 1}\n`)
        expect(() => openCheckpoint(flipped, read)).toThrow(NoteError)
      }),
      { numRuns: 20 },
    )
  })

  it('ignores other keys, but needs the log\u2019s own', () => {
    const ours = signer('ed25519')
    const witness = signer('ed25519', 'witness.example')
    const text = checkpointText({ origin: ours.key.name, size: 1, root: new Uint8Array(32) })
    const lineOf = (note: string): string => note.slice(note.lastIndexOf('\n\n') + 2)
    expect(openNote(`${text}\n${lineOf(witness.note(text))}${lineOf(ours.note(text))}`, ours.key)).toBe(text)
    expect(() => openNote(witness.note(text), ours.key)).toThrow('did not sign')
    const other = signer('ed25519')
    expect(() => openNote(other.note(text), ours.key)).toThrow('did not sign')
  })

  it('does not take a checkpoint of another origin', () => {
    const { key, note } = signer('ed25519')
    expect(() => openCheckpoint(note(checkpointText({ origin: 'other.example', size: 1, root: new Uint8Array(32) })), key)).toThrow('another log')
  })

  it('splits at the last blank line', () => {
    const { key, note } = signer('ed25519')
    expect(openNote(note('one\n\ntwo\n'), key)).toBe('one\n\ntwo\n')
  })
})

describe('hostile notes and keys', () => {
  const { key, note } = signer('ed25519')
  const good = note(checkpointText({ origin: key.name, size: 7, root: new Uint8Array(32) }))

  it.each([
    ['nothing', ''],
    ['no signatures', 'a\n7\nb\n'],
    ['no last newline', good.slice(0, -1)],
    ['a control character', good.replace('7', '7\r')],
    ['a short signature', good.replace(/ [^ ]+\n$/, ' AAAA\n')],
    ['base64 with stray bits', good.replace(/=\n$/, 'B\n')],
    ['a signature line of another dash', good.replace('\u2014', '-')],
    ['an empty signature line', `${good}\n`],
    ['too many signatures', good + `\u2014 x AAAAAAAA\n`.repeat(100)],
    [
      'an ECDSA signature in place of an Ed25519 one',
      good.replace(/ [^ ]+\n$/, ` ${base64(Buffer.concat([Buffer.from(key.id, 'hex'), new Uint8Array(70)]))}\n`),
    ],
  ])('rejects a note with %s', (_name, hostile) => {
    expect(() => openNote(hostile, key)).toThrow(NoteError)
  })

  it.each(['a\n07\nAAAA', 'a\n-1', '\n1', 'a\n9007199254740993', 'a\n1e3', 'a\n1\n'])('rejects the checkpoint text %j', (start) => {
    expect(() => parseCheckpoint(`${start}\n${base64(new Uint8Array(32))}\n`)).toThrow(NoteError)
  })

  it('rejects extension lines and roots of a wrong length', () => {
    expect(parseCheckpoint(EXAMPLE_CHECKPOINT).size).toBe(20_852_163)
    expect(() => parseCheckpoint(`${EXAMPLE_CHECKPOINT}extra\n`)).toThrow(NoteError)
    expect(() => parseCheckpoint(`a\n1\n${base64(new Uint8Array(31))}\n`)).toThrow(NoteError)
  })

  it.each([
    '',
    'a+b',
    'name+00000000+AQ==',
    EXAMPLE_KEY.replace('c74f20a3', 'c74f20a4'),
    EXAMPLE_KEY.replace('+ARpc', '+AxRpc'),
    'x+00000000+AgAA',
    'x+0+AAAA',
  ])('rejects the key %j', (vkey) => {
    expect(() => parseLogKey(vkey)).toThrow(NoteError)
  })

  it('rejects a key of another curve or algorithm, and a bad name', () => {
    const p384 = spkiOf(generateKeyPairSync('ec', { namedCurve: 'P-384' }).publicKey)
    expect(() => logKey('a', 'ecdsa-p256', p384)).toThrow(NoteError)
    expect(() => logKey('a', 'ed25519', p384)).toThrow(NoteError)
    for (const name of ['', 'a b', 'a+b', 'a\u2003b', 'a\nb']) expect(() => logKey(name, 'ed25519', key.publicKey.spki)).toThrow(NoteError)
  })
})
