import { generateKeyPairSync, sign } from 'node:crypto'
import { describe, expect, it } from 'vitest'
import { utf8 } from '../core/bytes.ts'
import { newOperationId } from '../core/ids.ts'
import { checkpointText, type LogKey, logKey, NoteError, signedNote } from '../policies/audit/checkpoint.ts'
import { encodeEntry } from '../policies/audit/entry.ts'
import { append, EMPTY_EDGE, inclusionProof, leafHash, rootOf } from '../policies/audit/merkle.ts'
import { encodeProof, parseProof } from '../policies/audit/proof-file.ts'
import { draftOf } from '../policies/audit/testing/drafts.ts'
import { describeProof, verifyEntryProof } from './audit-proof.ts'

interface Log {
  readonly key: LogKey
  sign(text: string): string
}

function logOf(origin: string): Log {
  const { publicKey, privateKey } = generateKeyPairSync('ed25519')
  const key = logKey(origin, 'ed25519', publicKey.export({ format: 'der', type: 'spki' }))
  return { key, sign: (text) => signedNote(text, key, sign(null, utf8(text), privateKey)) }
}

const SIZE = 11
const log = logOf('grid.example/audit')
const entries = Array.from({ length: SIZE }, (_, seq) => {
  const draft = draftOf('outcome', newOperationId(), { operation: 'test.approve', facts: { public: { label: `no ${seq} \u009b31m\u202e` } } })
  return encodeEntry(draft, { time: new Date(0), writer: { slot: 0, epoch: 1, seq }, effect: 'transient', salt: () => new Uint8Array(16) }).bytes
})
const nodes = new Map<string, Uint8Array>()
const edge = append(EMPTY_EDGE, entries.map(leafHash), (level, index, node) => nodes.set(`${level}/${index}`, node))
const text = checkpointText({ origin: log.key.name, size: SIZE, root: rootOf(edge) })
const proofOf = (index: number, note = log.sign(text)): string =>
  encodeProof({ index, hashes: inclusionProof(index, SIZE, (level, at) => nodes.get(`${level}/${at}`) ?? new Uint8Array(32)), note })
const bytesOf = (index: number): Uint8Array => entries[index] ?? new Uint8Array()
const [bytes, proof, vkey] = [bytesOf(6), proofOf(6), log.key.vkey]

const other = logOf('other.example/audit')
const impostor = logOf('grid.example/audit')
const path = parseProof(proof)
const flipped = path.hashes.map((hash, at) => (at === 1 ? Buffer.from(hash).fill(1, 0, 1) : hash))

const bad: [string, Uint8Array, string, string][] = [
  ['another entry', bytesOf(7), proof, 'does not lead'],
  ['an entry of one byte more', Buffer.concat([bytes, Buffer.of(0x0a)]), proof, 'does not lead'],
  ['a flipped hash', bytes, encodeProof({ ...path, hashes: flipped }), 'does not lead'],
  ['a hash too few', bytes, encodeProof({ ...path, hashes: path.hashes.slice(1) }), 'does not lead'],
  ['a hash too many', bytes, encodeProof({ ...path, hashes: [...path.hashes, new Uint8Array(32)] }), 'does not lead'],
  ['another index', bytes, proof.replace('index 6', 'index 7'), 'does not lead'],
  ['an index beyond the tree', bytes, proof.replace('index 6', `index ${SIZE}`), 'does not lead'],
  ['another log’s checkpoint', bytes, proofOf(6, other.sign(text.replace(log.key.name, other.key.name))), 'did not sign'],
  ['the checkpoint, signed by another key of that name', bytes, proofOf(6, impostor.sign(text)), 'did not sign'],
  ['a changed size', bytes, proof.replace(`\n${SIZE}\n`, `\n${SIZE + 1}\n`), 'signature'],
  ['a proof that is cut off', bytes, proof.slice(0, -1), 'cut off'],
  ['a proof that is cut off before the checkpoint', bytes, proof.slice(0, 80), 'cut off'],
  ['nothing', bytes, '', 'cut off'],
]

describe('a proof of one entry', () => {
  it('holds for every entry of the log', () => {
    for (let index = 0; index < SIZE; index += 1) {
      expect(verifyEntryProof({ bytes: bytesOf(index), proof: proofOf(index), vkey })).toMatchObject({ ok: true, origin: log.key.name, size: SIZE, index })
    }
  })

  it('is told with what the entry says, and nothing that a terminal would obey', () => {
    const told = describeProof(verifyEntryProof({ bytes, proof, vkey }))
    expect(told).toMatch(
      /^IN THE LOG: grid\.example\/audit, entry 6 under the signed checkpoint over 11\noutcome of test\.approve \(ok\) by system test, 1970-/,
    )
    expect(told).toContain('"label": "no 6 \\u009b31m\\u202e"')
  })

  it.each(bad)('does not hold for %s', (_, entry, file, reason) => {
    const report = verifyEntryProof({ bytes: entry, proof: file, vkey })
    expect(report.ok).toBe(false)
    expect(describeProof(report)).toMatch(/^NOT PROVEN for grid\.example\/audit: /)
    expect(describeProof(report)).toContain(reason)
  })

  it('does not hold for bytes that are in a log and are no entry', () => {
    const loose = utf8('{"v":1, "kind":"event"}')
    const note = log.sign(checkpointText({ origin: log.key.name, size: 1, root: leafHash(loose) }))
    expect(verifyEntryProof({ bytes: loose, proof: encodeProof({ index: 0, hashes: [], note }), vkey })).toMatchObject({
      ok: false,
      reason: expect.stringContaining('canonical') as string,
    })
  })

  it('is not looked at with a key that is none', () => {
    expect(() => verifyEntryProof({ bytes, proof, vkey: vkey.replace('+', '') })).toThrow(NoteError)
  })
})
