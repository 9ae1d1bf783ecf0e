import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { utf8 } from '../../core/bytes.ts'
import { newOperationId } from '../../core/ids.ts'
import { systemCaller } from '../caller.ts'
import { encodeEntry, type Entry, EntryError, parseEntry } from './entry.ts'
import { EntryScanner } from './entry-scan.ts'
import type { EntryDraft, EntryKind } from './log.ts'

const scanner = new EntryScanner()
const caller = { kind: 'module', name: 'billing', id: 'm1', certificate: 'ab'.repeat(32), address: '192.0.2.7' } as const

function entryOf(kind: EntryKind, more: Partial<EntryDraft> = {}): Uint8Array {
  const draft = { kind, id: newOperationId(), operation: 'test.thing.do', caller: systemCaller('test'), code: 'ok', ...more }
  return encodeEntry(draft, {
    time: new Date(1_790_000_000_000),
    writer: { slot: 3, epoch: 12, seq: 4711 },
    effect: 'durable',
    salt: () => new Uint8Array(16),
  }).bytes
}

const usual: readonly Uint8Array[] = [
  entryOf('event'),
  entryOf('intent', { parent: newOperationId(), caller, uses: [{ action: 'sign', keyId: newOperationId() as never }] }),
  entryOf('outcome', {
    caller,
    decision: { effect: 'allow', rule: 'r', revision: 'x', at: 1_790_000_000_000, admittedUntil: 0, added: ['a', 'b'] },
    facts: {
      public: { b: 7, a: true, c: ['x', 'y'], d: false },
      personal: { iccid: '89860099000000020027' },
      rows: [{ table: 't', id: '1', version: 2, digest: 'd' }],
    },
  }),
  entryOf('refusal'),
  entryOf('item'),
]

const parsed = (bytes: Uint8Array): Entry | undefined => {
  try {
    return parseEntry(bytes)
  } catch (error) {
    expect(error).toBeInstanceOf(EntryError)
    return undefined
  }
}

/** What the scanner takes, the parser takes, and they tell the same. */
function expectAgreement(bytes: Uint8Array): boolean {
  if (!scanner.scan(bytes)) return false
  const entry = parsed(bytes)
  expect(entry, Buffer.from(bytes).toString()).toBeDefined()
  const { kind, durable, slot, epoch, seq, id, time, operation } = scanner
  expect({ kind, durable, writer: { slot, epoch, seq }, id, time, operation }).toEqual({
    ...{ kind: entry?.kind, durable: entry?.effect === 'durable', writer: entry?.writer },
    ...{ id: entry?.id, time: entry?.time, operation: entry?.operation },
  })
  return true
}

describe('the scanner of entries', () => {
  it('takes every usual entry, and tells of it what the parser tells', () => {
    for (const bytes of usual) expect(expectAgreement(bytes)).toBe(true)
  })

  it('takes nothing that the parser refuses: every byte changed, left out or doubled', () => {
    let taken = 0
    for (const bytes of usual) {
      for (let at = 0; at < bytes.length; at += 1) {
        for (const byte of [...utf8('"\\,:{}[]-0179azAZ t'), 0, 10, 31, 127, 128, 255]) {
          const changed = Uint8Array.from(bytes)
          changed[at] = byte
          if (expectAgreement(changed)) taken += 1
        }
        expectAgreement(Buffer.concat([bytes.subarray(0, at), bytes.subarray(at + 1)]))
        expectAgreement(Buffer.concat([bytes.subarray(0, at), bytes.subarray(at, at + 1), bytes.subarray(at)]))
      }
      expect(scanner.scan(Buffer.concat([bytes, utf8(' ')]))).toBe(false)
    }
    // Letters of names and values: most changes are of those.
    expect(taken).toBeGreaterThan(1000)
  })

  it('agrees with the parser on pieces put together at random', () => {
    const pieces = fc.constantFrom(
      ...[
        '{',
        '}',
        '[',
        ']',
        ',',
        ':',
        '"a"',
        '"b"',
        '"1"',
        '"__proto__"',
        '0',
        '00',
        '-0',
        '1.0',
        '1e3',
        '9007199254740993',
        'null',
        'true',
        '"\\u0041"',
        '""',
        '"é"',
      ],
    )
    const [head = '', tail = ''] = Buffer.from(entryOf('refusal')).toString().split(',"code"')
    fc.assert(
      fc.property(fc.array(pieces, { maxLength: 12 }), fc.constantFrom('decision', 'facts', 'rows'), (list, key) => {
        const text = `${head},"code"${tail.slice(0, -1)},"${key}":${list.join('')}}`
        const bytes = utf8(text)
        expect(expectAgreement(bytes) && parsed(bytes) === undefined).toBe(false)
      }),
      { numRuns: 3000 },
    )
  })

  it.each([
    ['doubled names', '{"a":1,"a":2}'],
    ['names that parsers reorder', '{"2":1,"1":2}'],
    ['names that are none', '{"__proto__":1}'],
    ['numbers in other forms', '{"a":01}'],
    ['white space', '{"a": 1}'],
    ['escapes that are not needed', '{"a":"\\u0041"}'],
    ['deep nesting', `{"a":${'['.repeat(50)}${']'.repeat(50)}}`],
    ['more names than it can hold', `{${Array.from({ length: 70 }, (_, at) => `"a${at}":1`).join(',')}}`],
  ])('leaves %s to the parser', (_what, facts) => {
    const text = Buffer.from(usual[0] ?? '').toString()
    expect(scanner.scan(utf8(`${text.slice(0, -1)},"facts":${facts}}`))).toBe(false)
  })

  it('finds a doubled name in an object after one inside it', () => {
    const text = Buffer.from(usual[0] ?? '').toString()
    const withFacts = (facts: string): Uint8Array => utf8(`${text.slice(0, -1)},"facts":${facts}}`)
    expect(expectAgreement(withFacts('{"a":{"a":1,"b":2},"b":3}'))).toBe(true)
    expect(scanner.scan(withFacts('{"a":{"c":1,"b":2},"a":3}'))).toBe(false)
  })
})
