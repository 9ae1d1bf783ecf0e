import { createHash } from 'node:crypto'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { utf8 } from '../../core/bytes.ts'
import { operationId } from '../../core/ids.ts'
import { systemCaller } from '../caller.ts'
import { commitmentOf, EntryError, encodeEntry, MAX_ENTRY_BYTES, parseEntry } from './entry.ts'
import { decodeBundle, encodeBundle, groupMessage, nextChain, startChain } from './group.ts'
import type { EntryDraft, FactValue } from './log.ts'

const id = operationId('0199f0c4-0000-7000-8000-000000000001')
const draft: EntryDraft = {
  kind: 'outcome',
  id,
  operation: 'kms.key.sign',
  caller: { kind: 'module', name: 'billing', id: 'm1', address: '192.0.2.7' },
  code: 'ok',
}
const at = {
  time: new Date('2026-11-22T10:00:00.123Z'),
  writer: { slot: 3, epoch: 2, seq: 41 },
  effect: 'transient',
  salt: () => new Uint8Array(16).fill(7),
} as const
const textOf = (bytes: Uint8Array): string => Buffer.from(bytes).toString('utf8')

describe('entry v1', () => {
  it('has exactly these bytes', () => {
    const full: EntryDraft = {
      ...draft,
      parent: id,
      decision: { effect: 'allow', rule: 'r1', revision: 'abc', at: 5, listener: 'tls', strength: 'certificate', admittedUntil: 9, added: ['x'] },
      code: 'ok',
      facts: {
        public: { z: 1, a: ['x'], B: true },
        personal: { iccid: '89860012345678901234', imsi: '460001234567890' },
        rows: [{ table: 't', id: 'i', version: 2, digest: 'd' }],
      },
    }
    const { bytes, personal } = encodeEntry(full, at)
    const commitment = (name: string, value: string): string =>
      createHash('sha256').update(Buffer.alloc(16, 7)).update(`${name}\u0000${value}`).digest('base64url')
    expect(textOf(bytes)).toBe(
      `{"v":1,"kind":"outcome","effect":"transient","id":"${id}","parent":"${id}","time":"2026-11-22T10:00:00.123Z","writer":{"slot":3,"epoch":2,"seq":41},` +
        `"operation":"kms.key.sign","caller":{"kind":"module","name":"billing","id":"m1","address":"192.0.2.7"},"decision":{"effect":"allow","rule":"r1","revision":"abc",` +
        `"at":5,"listener":"tls","strength":"certificate","admittedUntil":9,"added":["x"]},` +
        `"code":"ok","facts":{"B":true,"a":["x"],"z":1},"personal":{"iccid":{"commitment":"${commitment('iccid', '89860012345678901234')}","prefix":"8986001"},` +
        `"imsi":{"commitment":"${commitment('imsi', '460001234567890')}"}},"rows":[{"table":"t","id":"i","version":2,"digest":"d"}]}`,
    )
    expect(personal.map(({ name }) => name)).toEqual(['iccid', 'imsi'])
    expect(personal.map(commitmentOf)).toEqual([commitment('iccid', '89860012345678901234'), commitment('imsi', '460001234567890')])
  })

  it('never shows a personal value beyond the issuer prefix', () => {
    const { bytes } = encodeEntry(
      { ...draft, facts: { personal: { firstIccid: '89860012345678901234', imei: '49015420323751', phone: '+8613800000000' } } },
      at,
    )
    for (const secret of ['89860012', '49015420323751', '13800000000']) expect(textOf(bytes)).not.toContain(secret)
  })

  it('reads back what it wrote, whatever the facts', () => {
    const value: fc.Arbitrary<FactValue> = fc.oneof(
      fc.string({ unit: 'binary' }),
      fc.double({ noNaN: true, noDefaultInfinity: true }),
      fc.boolean(),
      fc.array(fc.string()),
    )
    const facts = fc.dictionary(fc.stringMatching(/^[A-Za-z][A-Za-z0-9_.-]{0,20}$/), value)
    fc.assert(
      fc.property(
        facts,
        fc.dictionary(
          fc.constantFrom('iccid', 'imsi', 'name'),
          fc.string({ unit: 'grapheme' }).filter((text) => !text.includes('\u0000')),
        ),
        (open, personal) => {
          const { bytes } = encodeEntry({ ...draft, facts: { public: open, personal } }, at)
          const entry = parseEntry(bytes)
          expect(entry.facts ?? {}).toEqual(JSON.parse(JSON.stringify(open)))
          expect(Object.keys(entry.personal ?? {})).toEqual(Object.keys(personal).sort())
          expect(entry.writer).toEqual(at.writer)
        },
      ),
      { numRuns: 200 },
    )
  })

  it('refuses an entry that is too long, in words that say what to do, and never cuts it', () => {
    const long = (length: number): EntryDraft => ({ ...draft, facts: { public: { list: ['x'.repeat(length)] } } })
    const overhead = encodeEntry(long(0), at).bytes.length
    expect(encodeEntry(long(MAX_ENTRY_BYTES - overhead), at).bytes).toHaveLength(MAX_ENTRY_BYTES)
    expect(() => encodeEntry(long(MAX_ENTRY_BYTES - overhead + 1), at)).toThrow(/65536 bytes of at most 65535: put the Merkle root/)
  })

  it.each([
    ['an id that is no UUID', { ...draft, id: operationId('1') }],
    ['an outcome without a code', { kind: 'outcome', id, operation: 'a.b', caller: systemCaller('x') }],
    ['a NUL in a name', { ...draft, operation: 'a\u0000' }],
    ['a NUL in a personal value', { ...draft, facts: { personal: { name: 'a\u0000' } } }],
    ['a fact named like a number', { ...draft, facts: { public: { '1': 'x' } } }],
    ['a fact named __proto__', { ...draft, facts: { public: JSON.parse('{"__proto__":"x"}') as Record<string, string> } }],
    ['a fact that is no number', { ...draft, facts: { public: { n: Number.NaN } } }],
  ] as const)('refuses %s', (_name, hostile) => {
    expect(() => encodeEntry(hostile as EntryDraft, at)).toThrow(EntryError)
  })

  const good = textOf(encodeEntry(draft, at).bytes)
  it.each([
    ['nothing', ''],
    ['an array', '[]'],
    ['another version', good.replace('"v":1', '"v":2')],
    ['a space', good.replace('"v":1,', '"v":1, ')],
    ['a doubled key', good.replace('"code":"ok"', '"code":"forbidden","code":"ok"')],
    ['another order', good.replace('"v":1,"kind":"outcome",', '"kind":"outcome","v":1,')],
    ['an unknown key', good.replace('"code":"ok"', '"code":"ok","more":1')],
    ['an escape that is not needed', good.replace('billing', '\\u0062illing')],
    ['a negative sequence', good.replace('"seq":41', '"seq":-1')],
    ['an unknown kind', good.replace('"outcome"', '"rumour"')],
    ['an outcome without its effect', good.replace('"effect":"transient",', '')],
    ['a time without milliseconds', good.replace('.123Z', 'Z')],
  ])('does not read %s', (_name, text) => {
    expect(parseEntry(utf8(good)).code).toBe('ok')
    expect(() => parseEntry(utf8(text))).toThrow(EntryError)
  })

  it('is not nested deeper than any reader can follow', () => {
    const { bytes } = encodeEntry(draft, at)
    const nested = (depth: number): Uint8Array => utf8(`${Buffer.from(bytes).toString('utf8').slice(0, -1)},"rows":${'['.repeat(depth)}${']'.repeat(depth)}}`)
    expect(() => parseEntry(nested(3))).not.toThrow()
    for (const depth of [17, 1000, 32_000]) expect(() => parseEntry(nested(depth)), String(depth)).toThrow(EntryError)
  })

  it('does not read invalid UTF-8 or random bytes', () => {
    const bytes = Buffer.from(good)
    bytes[bytes.indexOf('billing')] = 0xff
    expect(() => parseEntry(bytes)).toThrow(EntryError)
    fc.assert(fc.property(fc.uint8Array({ maxLength: 200 }), (noise) => void expect(() => parseEntry(noise)).toThrow(EntryError)))
  })
})

describe('groups', () => {
  it('round-trip any entries, and refuse cut bundles', () => {
    fc.assert(
      fc.property(fc.array(fc.uint8Array({ maxLength: 300 })), (entries) => {
        const bundle = encodeBundle(entries)
        expect(decodeBundle(bundle).map((entry) => [...entry])).toEqual(entries.map((entry) => [...entry]))
        if (bundle.length > 0) expect(() => decodeBundle(bundle.subarray(0, -1))).toThrow(RangeError)
      }),
    )
    expect(() => encodeBundle([new Uint8Array(MAX_ENTRY_BYTES + 1)])).toThrow(RangeError)
  })

  it('have a chain and a message that differ in every part', () => {
    const chain = nextChain(startChain(1, 1), utf8('bundle'))
    const messages = [
      { writer: 1, epoch: 11, firstSeq: 0, count: 1, chain },
      { writer: 11, epoch: 1, firstSeq: 0, count: 1, chain },
      { writer: 1, epoch: 1, firstSeq: 10, count: 1, chain },
      { writer: 1, epoch: 1, firstSeq: 1, count: 1, chain },
      { writer: 1, epoch: 1, firstSeq: 1, count: 1, chain: nextChain(startChain(1, 2), utf8('bundle')) },
    ].map((head) => Buffer.from(groupMessage(head)).toString('hex'))
    expect(new Set(messages).size).toBe(messages.length)
  })
})
