import { describe, expect, it } from 'vitest'
import { verifyEntryProof } from '../../clients/audit-proof.ts'
import { base64, fromUtf8, utf8 } from '../../core/bytes.ts'
import { openCheckpoint } from './checkpoint.ts'
import { checkConsistency, proofFromTiles } from './consistency.ts'
import { inclusionProof, leafHash, type NodeAt, verifyInclusion } from './merkle.ts'
import { encodeProof, parseProof } from './proof-file.ts'
import { tileLog, tileLogKey, usualEntries } from './testing/tile-log.ts'
import { nodesOf } from './tiles.ts'
import { LogVerifier, openByAny } from './verify.ts'
import { verifyTiles } from './verify-tiles.ts'

/** Whatever is changed in what a verifier is given, it refuses: every byte, and every part left out, doubled or put elsewhere. */

const entries = usualEntries(11)
const log = tileLog(entries)
const nodeAt: NodeAt = nodesOf((level, index) => (level === 0 && index === 0 ? log.files.get('tile/0/000.p/11') : undefined))
const hashes = inclusionProof(6, 11, nodeAt)
const proof = encodeProof({ index: 6, hashes, note: log.note })
const bytes = entries[6] ?? new Uint8Array()
const holds = (text: string, entry: Uint8Array = bytes): boolean => verifyEntryProof({ bytes: entry, proof: text, vkey: tileLogKey.vkey }).ok

/** Every byte as each of these others, left out, and doubled. */
function* changesOf(whole: Uint8Array, changesTo: (byte: number) => readonly number[]): Generator<Uint8Array> {
  for (let at = 0; at < whole.length; at += 1) {
    for (const other of changesTo(whole[at] ?? 0)) {
      const changed = Uint8Array.from(whole)
      changed[at] = other
      yield changed
    }
    yield Uint8Array.from([...whole.subarray(0, at), ...whole.subarray(at + 1)])
    yield Uint8Array.from([...whole.subarray(0, at), ...whole.subarray(at, at + 1), ...whole.subarray(at)])
  }
}
const bits = (byte: number): number[] => [1, 2, 4, 8, 16, 32, 64, 128].map((bit) => byte ^ bit)
/** Other characters, and those that mean something in these texts. */
const others = (byte: number): number[] => [...new Set([byte ^ 1, byte ^ 4, byte ^ 32, byte ^ 128, ...utf8('\n\r =+-0A')])].filter((other) => other !== byte)

function refuses(changes: Iterable<Uint8Array>, accepted: (changed: Uint8Array) => boolean): number {
  let count = 0
  for (const changed of changes) {
    if (accepted(changed)) expect(fromUtf8(changed), 'is accepted').toBe('')
    count += 1
  }
  return count
}

describe('a changed proof', () => {
  it('is refused: every byte, changed to others that would mean something else', () => {
    expect(holds(proof)).toBe(true)
    expect(refuses(changesOf(utf8(proof), others), (changed) => holds(fromUtf8(changed)))).toBeGreaterThan(10 * utf8(proof).length)
  }, 60_000)

  it('is refused for an entry with a bit changed, and for every other entry', () => {
    const claim = { index: 6, size: 11, proof: hashes, root: openCheckpoint(log.note, tileLogKey).root }
    expect(verifyInclusion({ ...claim, leaf: leafHash(bytes) })).toBe(true)
    refuses(changesOf(bytes, bits), (changed) => verifyInclusion({ ...claim, leaf: leafHash(changed) }))
    for (const other of [...entries.filter((one) => one !== bytes), new Uint8Array(), hashes[0] ?? bytes]) expect(holds(proof, other)).toBe(false)
  })

  it('is refused with a hash left out, doubled, exchanged or added, another index, and every other checkpoint', () => {
    const parts = parseProof(proof)
    const withHashes = (list: readonly Uint8Array[]): boolean => holds(encodeProof({ ...parts, hashes: list }))
    for (let at = 0; at <= hashes.length; at += 1) {
      if (at < hashes.length) expect(withHashes(hashes.toSpliced(at, 1))).toBe(false)
      for (const more of [...hashes, new Uint8Array(32), leafHash(bytes)]) expect(withHashes(hashes.toSpliced(at, 0, more))).toBe(false)
      for (let other = 0; other < at; other += 1) {
        const [one, two] = [hashes[at], hashes[other]]
        if (one !== undefined && two !== undefined) expect(withHashes(hashes.with(at, two).with(other, one))).toBe(false)
      }
    }
    for (const index of [0, 1, 5, 7, 10, 11, 6 + 16, 2 ** 32 + 6, Number.MAX_SAFE_INTEGER]) expect(holds(encodeProof({ ...parts, index }))).toBe(false)
    for (const size of [0, 1, 6, 7, 8, 10]) expect(holds(encodeProof({ ...parts, note: log.noteAt(size) }))).toBe(false)
    expect(holds(encodeProof({ ...parts, note: tileLog(usualEntries(11)).note }))).toBe(false)
  })
})

describe('a changed checkpoint', () => {
  const opens = (note: string): boolean => !('fault' in openByAny(note, [tileLogKey]))

  it('is refused: every byte, changed to others that would mean something else', () => {
    expect(opens(log.note)).toBe(true)
    expect(refuses(changesOf(utf8(log.note), others), (changed) => opens(fromUtf8(changed)))).toBeGreaterThan(10 * utf8(log.note).length)
  }, 60_000)

  it('is refused with lines left out, doubled or exchanged', () => {
    const lines = log.note.split('\n')
    const accepted = (changed: readonly string[]): boolean => opens(changed.join('\n'))
    for (let at = 0; at < lines.length; at += 1) {
      expect(accepted(lines.toSpliced(at, 1))).toBe(false)
      for (let other = 0; other < at; other += 1)
        expect(accepted(lines.with(at, lines[other] ?? '').with(other, lines[at] ?? ''))).toBe(lines[at] === lines[other])
    }
    // A signature that stands twice says nothing else; a text that does would.
    for (let at = 0; at < 4; at += 1) expect(accepted(lines.toSpliced(at, 0, lines[at] ?? ''))).toBe(false)
    const other = tileLog(usualEntries(11)).note
    expect(opens(log.note.slice(0, log.note.indexOf('\n\n')) + other.slice(other.indexOf('\n\n')))).toBe(false)
  })
})

describe('a changed proof of consistency', () => {
  const [older, newer] = [log.noteAt(6), log.note]

  it('is refused: every bit of every hash', async () => {
    const steps = (await proofFromTiles(log, 6, 11)) ?? []
    expect(checkConsistency({ older, newer }, [tileLogKey], steps).ok).toBe(true)
    for (let at = 0; at < steps.length; at += 1)
      refuses(changesOf(steps[at] ?? new Uint8Array(), bits), (changed) => checkConsistency({ older, newer }, [tileLogKey], steps.with(at, changed)).ok)
    for (const size of [0, 1, 5, 7, 8, 10]) expect(checkConsistency({ older: log.noteAt(size), newer }, [tileLogKey], steps).ok).toBe(false)
  })
})

describe('a changed log in tiles', () => {
  const small = tileLog(entries.slice(0, 3))
  const verifies = async (path: string, changed: Uint8Array): Promise<boolean> => {
    const source = { read: (name: string) => Promise.resolve(name === path ? changed : small.files.get(name)) }
    return (await verifyTiles(new LogVerifier(tileLogKey), source)).ok
  }

  it.each(['tile/0/000.p/3', 'tile/entries/000.p/3', 'checkpoint'])(
    'is refused: every bit of %s',
    async (path) => {
      const whole = small.files.get(path) ?? new Uint8Array()
      expect(await verifies(path, whole)).toBe(true)
      let count = 0
      for (const changed of changesOf(whole, path.includes('entries') ? (byte) => [byte ^ 1, byte ^ 128] : bits)) {
        if (await verifies(path, changed)) expect(base64(changed), 'is accepted').toBe('')
        count += 1
      }
      expect(count).toBeGreaterThan(900)
    },
    30_000,
  )

  it('is refused with entries left out, doubled or exchanged', async () => {
    const source = (list: readonly Uint8Array[]) => {
      const other = tileLog(list)
      return verifyTiles(new LogVerifier(tileLogKey), {
        read: (name) => Promise.resolve(name === 'checkpoint' ? utf8(log.note) : (other.files.get(name) ?? log.files.get(name))),
      })
    }
    expect((await source(entries)).ok).toBe(true)
    for (let at = 0; at < entries.length; at += 1) {
      expect((await source([...entries.toSpliced(at, 1), entries[0] ?? bytes])).ok).toBe(false)
      if (at > 0) expect((await source(entries.with(at, entries[at - 1] ?? bytes))).ok).toBe(false)
      if (at > 0) expect((await source(entries.with(at, entries[0] ?? bytes).with(0, entries[at] ?? bytes))).ok).toBe(false)
    }
    expect(openCheckpoint(log.note, tileLogKey).size).toBe(11)
  })
})
