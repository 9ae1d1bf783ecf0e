import { generateKeyPairSync, sign } from 'node:crypto'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { describe, expect, it } from 'vitest'
import { utf8 } from '../../core/bytes.ts'
import { newOperationId, type OperationId } from '../../core/ids.ts'
import { systemCaller } from '../caller.ts'
import { type Checkpoint, checkpointText, logKey, openCheckpoint, signedNote } from './checkpoint.ts'
import { encodeEntry } from './entry.ts'
import { encodeExportLine } from './export.ts'
import type { EntryKind } from './log.ts'
import { append, type Edge, EMPTY_EDGE, leafHash, rootOf } from './merkle.ts'
import { digestLines } from './entry-digest.ts'
import { type FindingCode, type LogReport, LogVerifier, openByAny } from './verify.ts'

const pair = generateKeyPairSync('ed25519')
const key = logKey('grid.example/audit', 'ed25519', pair.publicKey.export({ format: 'der', type: 'spki' }))
const noteOver = (entries: readonly Uint8Array[]): string => {
  const text = checkpointText({ origin: key.name, size: entries.length, root: rootOf(append(EMPTY_EDGE, entries.map(leafHash))) })
  return signedNote(text, key, sign(null, utf8(text), pair.privateKey))
}

type Step = { kind: EntryKind; id?: OperationId; effect?: 'durable' | 'transient'; slot?: number; epoch?: number; seq?: number }

/** Entries of one writer, dense unless said. */
function entriesOf(steps: readonly Step[]): Uint8Array[] {
  const next = new Map<string, number>()
  return steps.map(({ kind, id = newOperationId(), effect = 'transient', slot = 1, epoch = 1, seq }) => {
    const place = `${slot}/${epoch}`
    const at = seq ?? next.get(place) ?? 0
    next.set(place, at + 1)
    const draft = { kind, id, operation: 'test.do', caller: systemCaller('test'), code: 'ok' }
    return encodeEntry(draft, { time: new Date(1_790_000_000_000), writer: { slot, epoch, seq: at }, effect, salt: () => new Uint8Array(16) }).bytes
  })
}

/** An honest export, with a checkpoint after each of `sizes`. */
function linesOf(entries: readonly Uint8Array[], sizes: readonly number[] = [entries.length]): string[] {
  const lines = [encodeExportLine({ kind: 'header', origin: key.name, vkey: key.vkey })]
  entries.forEach((bytes, index) => {
    lines.push(encodeExportLine({ kind: 'entry', index, bytes }))
    if (sizes.includes(index + 1)) lines.push(encodeExportLine({ kind: 'checkpoint', note: noteOver(entries.slice(0, index + 1)) }))
  })
  return lines.map((line) => line.trimEnd())
}

/** Cut into pieces of three lines. */
function follow(verifier: LogVerifier, lines: readonly string[]): LogReport {
  for (let at = 0; at < lines.length; at += 3) {
    const piece = digestLines(
      utf8(
        lines
          .slice(at, at + 3)
          .map((line) => line.trimEnd())
          .join('\n'),
      ),
    )
    verifier.addExported(
      piece,
      piece.lines.flatMap((line) => (line.is === 'checkpoint' ? [openByAny(line.note, verifier.keys)] : [])),
    )
  }
  return verifier.finish()
}
const verify = (lines: readonly string[], known: readonly string[] = []): LogReport =>
  follow(new LogVerifier(key, { known: known.map((note) => openCheckpoint(note, key)) }), lines)

const codesOf = (report: LogReport): FindingCode[] => report.findings.map(({ code }) => code)
const a = newOperationId()
const b = newOperationId()
const honest = entriesOf([
  { kind: 'intent', id: a },
  { kind: 'item', id: a },
  { kind: 'outcome', id: a, effect: 'durable' },
  { kind: 'outcome' },
  { kind: 'intent', id: b },
])

describe('the offline verifier', () => {
  it('verifies an honest log with the public key alone, and names what is open', () => {
    const report = verify(linesOf(honest, [2, 3, 5]), [noteOver(honest.slice(0, 2)), noteOver(honest.slice(0, 4))])
    expect(report).toMatchObject({ ok: true, size: 5, checkpoints: 3, epochs: 1, entries: { intent: 2, outcome: 2, item: 1 }, findingCount: 0 })
    expect(report.openIntents).toMatchObject([{ id: b, index: 4, operation: 'test.do' }])
  })

  it('takes writers and epochs side by side, and an outcome sequenced before its intent', () => {
    const steps: Step[] = [
      { kind: 'outcome', id: a, effect: 'durable', slot: 2 },
      { kind: 'intent', id: a },
      { kind: 'event', slot: 2, epoch: 2 },
      { kind: 'event' },
    ]
    expect(verify(linesOf(entriesOf(steps)))).toMatchObject({ ok: true, epochs: 3, openIntents: [] })
  })

  const swap = (entries: readonly Uint8Array[]): Uint8Array[] => entries.map((_, at) => entries[at === 1 ? 2 : at === 2 ? 1 : at] ?? new Uint8Array())
  const honestLines = linesOf(honest, [3, 5])

  it.each<[string, string[], FindingCode[]]>([
    [
      'an entry edited after it was signed',
      honestLines.map((line, at) => (at === 5 ? line.replace(/"entry":"[^"]+"/, `"entry":"${Buffer.from(honest[0] ?? '').toString('base64')}"`) : line)),
      ['sequence-gap', 'sequence-gap', 'root-mismatch', 'uncovered'],
    ],
    [
      'an entry left out',
      honestLines.filter((_, at) => at !== 2),
      ['index-gap', 'sequence-gap', 'checkpoint-misplaced', 'index-gap', 'index-gap', 'checkpoint-misplaced', 'uncovered'],
    ],
    ['an end cut off', honestLines.slice(0, -1), ['uncovered']],
    ['no checkpoint at all', linesOf(honest, []), ['uncovered']],
    ['nothing', [], ['uncovered']],
    ['no header', honestLines.slice(1), ['wrong-log']],
    ['another log\u2019s header', [encodeExportLine({ kind: 'header', origin: 'other', vkey: key.vkey }), ...honestLines.slice(1)], ['wrong-log']],
    ['a second header', [...honestLines, honestLines[0] ?? ''], ['line-malformed']],
    ['noise', [...honestLines, 'noise', '{}', '[]', 'null', '{"index":1,"entry":"*"}'], Array<FindingCode>(5).fill('line-malformed')],
    [
      'a forged checkpoint',
      [...honestLines.slice(0, -1), JSON.stringify({ checkpoint: noteOver(honest).replace('\n5\n', '\n4\n') })],
      ['checkpoint-invalid', 'uncovered'],
    ],
  ])('finds %s', (_name, lines, codes) => {
    const report = verify(lines)
    expect(report.ok).toBe(false)
    expect(codesOf(report)).toEqual(codes)
  })

  it.each<[string, Uint8Array[], FindingCode[]]>([
    ['entries of a writer in another order, even signed', swap(honest), ['sequence-gap', 'sequence-gap', 'sequence-gap']],
    ['a sequence number left out', entriesOf([{ kind: 'event' }, { kind: 'event', seq: 2 }]), ['sequence-gap']],
    ['an epoch that does not start at 0', entriesOf([{ kind: 'event', seq: 1 }]), ['sequence-gap']],
    [
      'an entry of a fenced epoch',
      entriesOf([
        { kind: 'event', epoch: 2 },
        { kind: 'event', epoch: 1 },
      ]),
      ['epoch-order'],
    ],
    ['a durable outcome without its intent', entriesOf([{ kind: 'outcome', effect: 'durable' }]), ['outcome-without-intent']],
    [
      'an outcome told twice',
      entriesOf([
        { kind: 'intent', id: a },
        { kind: 'outcome', id: a, effect: 'durable' },
        { kind: 'outcome', id: a, effect: 'durable' },
      ]),
      ['outcome-without-intent'],
    ],
    [
      'an intent told twice',
      entriesOf([
        { kind: 'intent', id: a },
        { kind: 'intent', id: a },
      ]),
      ['intent-doubled'],
    ],
    ['bytes that are no entry', [utf8('{"v":1}')], ['entry-malformed']],
  ])('finds %s, though the log signed it', (_name, entries, codes) => {
    const report = verify(linesOf(entries))
    expect(codesOf(report)).toEqual(codes)
  })

  it('finds a log that was cut back or rewritten behind a checkpoint held from before', () => {
    expect(codesOf(verify(linesOf(honest.slice(0, 3)), [noteOver(honest)]))).toEqual(['known-checkpoint-missing'])
    const rewritten = entriesOf([{ kind: 'event' }, { kind: 'event' }, { kind: 'event' }])
    expect(codesOf(verify(linesOf(rewritten), [noteOver(honest.slice(0, 2))]))).toEqual(['root-mismatch'])
  })

  it('lists 100 findings and counts all', () => {
    const report = verify(Array.from({ length: 250 }, () => 'noise'))
    expect([report.findings.length, report.findingCount]).toEqual([100, 251])
  })
})

describe('an export that begins later', () => {
  const edgeOver = (entries: readonly Uint8Array[]): Edge => append(EMPTY_EDGE, entries.map(leafHash))
  const from = 3
  const header = (begins: Edge): string => encodeExportLine({ kind: 'header', origin: key.name, vkey: key.vkey, begins }).trimEnd()
  const rest = linesOf(honest, [4, 5]).slice(1 + from)
  const later = [header(edgeOver(honest.slice(0, from))), ...rest]

  it('verifies by the tree before it, and says where it begins', () => {
    const [over, before] = [noteOver(honest.slice(0, 4)), noteOver(honest.slice(0, from))]
    expect(verify(later, [over, before])).toMatchObject({ ok: true, from, size: 5, checkpoints: 2, entries: { intent: 1, outcome: 1 } })
  })

  it('may have outcomes of operations that began before it, and writers that were under way', () => {
    const entries = entriesOf([{ kind: 'intent', id: a }, { kind: 'event' }, { kind: 'outcome', id: a, effect: 'durable' }])
    const lines = [header(edgeOver(entries.slice(0, 2))), ...linesOf(entries).slice(3)]
    expect(verify(lines)).toMatchObject({ ok: true, from: 2 })
    const gap = entriesOf([{ kind: 'event' }, { kind: 'event' }, { kind: 'event' }, { kind: 'event', seq: 4 }])
    expect(codesOf(verify([header(edgeOver(gap.slice(0, 1))), ...linesOf(gap).slice(2)]))).toEqual(['sequence-gap'])
    const epoch = entriesOf([{ kind: 'event' }, { kind: 'event' }, { kind: 'event', epoch: 2, seq: 1 }])
    expect(codesOf(verify([header(edgeOver(epoch.slice(0, 1))), ...linesOf(epoch).slice(2)]))).toEqual(['sequence-gap'])
  })

  it('does not show whether a checkpoint over what was before holds', () => {
    expect(codesOf(verify(later, [noteOver(honest.slice(0, 2))]))).toEqual(['known-checkpoint-missing'])
  })

  it.each<[string, readonly string[], FindingCode[]]>([
    ['another tree before it', [header(edgeOver([...honest.slice(0, 2), utf8('x')])), ...rest], ['root-mismatch', 'root-mismatch', 'uncovered']],
    [
      'another place',
      [header({ ...edgeOver(honest.slice(0, 5)), size: 5 }), ...rest],
      ['index-gap', 'checkpoint-misplaced', 'index-gap', 'checkpoint-misplaced', 'uncovered'],
    ],
    ['a tree of another size than its hashes', [later[0]?.replace('"from":3', '"from":7') ?? '', ...rest], ['line-malformed', 'wrong-log', ...gapsOf(rest)]],
    ['hashes that are none', [later[0]?.replace(/"edge":\["./, '"edge":["') ?? '', ...rest], ['line-malformed', 'wrong-log', ...gapsOf(rest)]],
    ['an edge alone', [later[0]?.replace('"from":3,', '') ?? '', ...rest], ['line-malformed', 'wrong-log', ...gapsOf(rest)]],
  ])('is not verified by %s', (_name, lines, codes) => {
    expect(codesOf(verify(lines))).toEqual(codes)
  })

  /** What is found of these lines where they stand at the begin. */
  function gapsOf(lines: readonly string[]): FindingCode[] {
    return codesOf(verify([linesOf([])[0] ?? '', ...lines]))
  }
})

describe('a log whose key was replaced', () => {
  const successor = generateKeyPairSync('ed25519')
  const newKey = logKey('grid.example/audit', 'ed25519', successor.publicKey.export({ format: 'der', type: 'spki' }))
  const newNoteOver = (entries: readonly Uint8Array[]): string => {
    const text = checkpointText({ origin: newKey.name, size: entries.length, root: rootOf(append(EMPTY_EDGE, entries.map(leafHash))) })
    return signedNote(text, newKey, sign(null, utf8(text), successor.privateKey))
  }
  const event = (logSize: number): Uint8Array =>
    encodeEntry(
      {
        kind: 'event',
        id: newOperationId(),
        operation: 'system.token-restored',
        caller: systemCaller('ceremony'),
        facts: { public: { oldKey: key.vkey, newKey: newKey.vkey, logSize } },
      },
      { time: new Date(1_790_000_000_000), writer: { slot: 9, epoch: 1, seq: 0 }, effect: 'transient', salt: () => new Uint8Array(16) },
    ).bytes

  /** `signers`: who signs after which entry. */
  function linesBy(entries: readonly Uint8Array[], signers: Readonly<Record<number, 'old' | 'new'>>, header = newKey): string[] {
    const lines = [encodeExportLine({ kind: 'header', origin: header.name, vkey: header.vkey })]
    entries.forEach((bytes, index) => {
      lines.push(encodeExportLine({ kind: 'entry', index, bytes }))
      const signer = signers[index + 1]
      const covered = entries.slice(0, index + 1)
      if (signer !== undefined) lines.push(encodeExportLine({ kind: 'checkpoint', note: signer === 'new' ? newNoteOver(covered) : noteOver(covered) }))
    })
    return lines.map((line) => line.trimEnd())
  }
  function verifyBoth(lines: readonly string[]): LogReport {
    return follow(new LogVerifier(newKey, { replaced: [key] }), lines)
  }
  const whole = [...honest, event(3)]

  it('verifies with its keys in their order', () => {
    expect(verifyBoth(linesBy(whole, { 2: 'old', 3: 'old', 6: 'new' }))).toMatchObject({ ok: true, checkpoints: 3 })
    expect(verifyBoth(linesBy(whole, { 3: 'old', 5: 'new', 6: 'new' }))).toMatchObject({ ok: true })
  })

  it.each<[string, readonly Uint8Array[], Readonly<Record<number, 'old' | 'new'>>]>([
    ['a checkpoint by the old key after one by the new', whole, { 3: 'old', 4: 'new', 5: 'old', 6: 'new' }],
    ['a checkpoint by the old key beyond the size that the log names', whole, { 3: 'old', 5: 'old', 6: 'new' }],
    ['a checkpoint by the old key over the event that names the new', whole, { 3: 'old', 6: 'old' }],
    ['no checkpoint by the newest key', honest, { 5: 'old' }],
  ])('finds %s', (_what, entries, signers) => {
    expect(codesOf(verifyBoth(linesBy(entries, signers)))).toContain('key-replaced')
  })

  it('is not verified by one of its keys alone', () => {
    const lines = linesBy(whole, { 3: 'old', 6: 'new' })
    expect(codesOf(verify(lines))).toEqual(expect.arrayContaining(['wrong-log', 'key-replaced', 'checkpoint-invalid']))
    expect(codesOf(follow(new LogVerifier(newKey), lines))).toContain('checkpoint-invalid')
  })
})

describe('a log that was recovered from the loss of entries', () => {
  const shard = logKey('grid.example/audit/2', 'ed25519', pair.publicKey.export({ type: 'spki', format: 'der' }))
  const shardNote = (entries: readonly Uint8Array[]): string => {
    const text = checkpointText({ origin: shard.name, size: entries.length, root: rootOf(append(EMPTY_EDGE, entries.map(leafHash))) })
    return signedNote(text, shard, sign(null, utf8(text), pair.privateKey))
  }
  const recovered = encodeEntry(
    {
      kind: 'event',
      id: newOperationId(),
      operation: 'system.log-recovered',
      caller: systemCaller('ceremony'),
      facts: { public: { oldKey: key.vkey, newKey: shard.vkey, logSize: 3, lostSize: 20 } },
    },
    { time: new Date(1_790_000_000_000), writer: { slot: 9, epoch: 1_000_001, seq: 0 }, effect: 'transient', salt: () => new Uint8Array(16) },
  ).bytes
  const entries = [...honest.slice(0, 5), recovered]
  const lines = [
    encodeExportLine({ kind: 'header', origin: shard.name, vkey: shard.vkey }),
    ...entries.flatMap((bytes, index) => [
      encodeExportLine({ kind: 'entry', index, bytes }),
      ...(index === 2 ? [encodeExportLine({ kind: 'checkpoint', note: noteOver(entries.slice(0, 3)) })] : []),
    ]),
    encodeExportLine({ kind: 'checkpoint', note: shardNote(entries) }),
  ].map((line) => line.trimEnd())
  const lostOver = (size: number): Checkpoint => ({ origin: key.name, size, root: new Uint8Array(32).fill(9) })
  const verifyWith = (known: readonly Checkpoint[]): LogReport => follow(new LogVerifier(shard, { replaced: [key], known }), lines)

  it('verifies by the keys of both origins, and tells what is lost', () => {
    const report = verifyWith([{ origin: key.name, size: 3, root: rootOf(append(EMPTY_EDGE, entries.slice(0, 3).map(leafHash))) }])
    expect(report).toMatchObject({ ok: true, findings: [], recoveries: [{ index: 5, oldOrigin: key.name, logSize: 3, lostSize: 20 }] })
  })

  it.each([4, 6, 20])('names the loss to who holds a checkpoint over %s entries of before', (size) => {
    expect(verifyWith([lostOver(size)]).findings).toMatchObject([{ code: 'entries-lost', index: 5 }])
  })

  it.each<[string, Checkpoint, FindingCode]>([
    ['one over fewer entries than the log says it kept', lostOver(2), 'root-mismatch'],
    ['one over more entries than the log says were lost', lostOver(21), 'known-checkpoint-missing'],
    ['one of the new origin', { ...lostOver(6), origin: shard.name }, 'root-mismatch'],
  ])('does not excuse %s', (_what, known, code) => {
    expect(verifyWith([known]).findings).toMatchObject([{ code }])
  })
})

describe('a log that nothing signs', () => {
  it('is not held in memory', () => {
    setFlagsFromString('--expose-gc')
    const collect = runInNewContext('gc') as () => void
    const used = (): number => {
      collect()
      return process.memoryUsage().heapUsed + process.memoryUsage().arrayBuffers
    }
    const verifier = new LogVerifier(key)
    const [bytes = new Uint8Array()] = entriesOf([{ kind: 'event' }])
    const piece = digestLines(utf8(Array.from({ length: 1000 }, (_, index) => encodeExportLine({ kind: 'entry', index, bytes })).join('')))
    verifier.addExported(piece, [])
    const before = used()
    for (let at = 0; at < 100; at += 1) verifier.addExported(piece, [])
    expect(used() - before).toBeLessThan(3_000_000)
    expect(verifier.finish().size).toBe(101_000)
  })
})
