import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { Entry } from '../entry.ts'
import { FIELD_NAMES, FIELDS, PATTERN_FIELDS } from './field.ts'
import { SegmentIndex } from './segment.ts'
import { assertQuery, LIMITS, matches, parseTime, type Query, QueryError } from './query.ts'
import { formatQuery, parseQuery } from './query-text.ts'

const noHiding = (): string => expect.unreachable('no personal value')

describe('the textual form', () => {
  it.each<[string, Query]>([
    ['code:ok', { field: 'code', is: ['ok'] }],
    ['code:ok,forbidden', { field: 'code', is: ['ok', 'forbidden'] }],
    ['operation:kms.key.*', { field: 'operation', like: ['kms.key.*'] }],
    ['operation:"kms.key.*"', { field: 'operation', is: ['kms.key.*'] }],
    [
      'rule:a,b*',
      {
        or: [
          { field: 'rule', is: ['a'] },
          { field: 'rule', like: ['b*'] },
        ],
      },
    ],
    ['caller:urn:gridseal:module:billing', { field: 'caller', is: ['urn:gridseal:module:billing'] }],
    ['address:2001:db8::/32', { field: 'address', is: ['2001:db8::/32'] }],
    ['object:"order 7, \\"the\\" \\\\"', { field: 'object', is: ['order 7, "the" \\'] }],
    [
      'code:a role:b',
      {
        and: [
          { field: 'code', is: ['a'] },
          { field: 'role', is: ['b'] },
        ],
      },
    ],
    ['code:a AND NOT role:b', { and: [{ field: 'code', is: ['a'] }, { not: { field: 'role', is: ['b'] } }] }],
    [
      'code:a OR code:b role:c',
      {
        or: [
          { field: 'code', is: ['a'] },
          {
            and: [
              { field: 'code', is: ['b'] },
              { field: 'role', is: ['c'] },
            ],
          },
        ],
      },
    ],
    [
      'NOT (code:a OR role:b)',
      {
        not: {
          or: [
            { field: 'code', is: ['a'] },
            { field: 'role', is: ['b'] },
          ],
        },
      },
    ],
    ['since:2026-01-01 until:2026-01-02T08:00:00+08:00', { and: [{ since: '2026-01-01' }, { until: '2026-01-02T08:00:00+08:00' }] }],
    ['id:0198f2c1-7a40-7c3e-9d52-6a1f0b2c3d4e', { ids: ['0198f2c1-7a40-7c3e-9d52-6a1f0b2c3d4e'] }],
    ['person:nina', { person: 'nina' }],
    ['person:"Li, Na"', { person: 'Li, Na' }],
    ['code:OR', { field: 'code', is: ['OR'] }],
  ])('%s', (text, query) => {
    expect(parseQuery(text)).toEqual(query)
    expect(parseQuery(formatQuery(query, noHiding))).toEqual(query)
  })

  it.each([
    ['', 1, 'a condition such as'],
    ['code', 5, 'a colon'],
    ['code:', 6, 'a value is expected'],
    ['code:ok AND', 12, 'a condition'],
    ['code:ok OR OR', 14, 'a colon'],
    ['coda:ok', 1, 'coda is no field'],
    ['code:ok colour:red', 9, 'colour is no field'],
    ['(code:ok', 9, 'a closing bracket'],
    ['code:ok)', 8, 'not expected'],
    ['code:"ok', 6, 'has no end'],
    ['code:ok,', 9, 'a value is expected'],
    ['since:2026-01-01,2026-01-02', 18, 'one time'],
    ['personal.iccid:1', 1, 'no field'],
    [':ok', 1, 'a condition'],
    [`${'('.repeat(10_000)}code:ok`, 33, 'too many brackets'],
  ])('%s is refused at its column', (text, column, message) => {
    expect(() => parseQuery(text)).toThrow(QueryError)
    expect(() => parseQuery(text)).toThrow(`column ${String(column)}: `)
    expect(() => parseQuery(text)).toThrow(message)
  })

  it('means what the query means, whatever the values are', () => {
    const value = fc.string({ minLength: 1, maxLength: 12, unit: 'grapheme' })
    const exact = fc.record({ field: fc.constantFrom(...FIELD_NAMES), is: fc.array(value, { minLength: 1, maxLength: 3 }) })
    const like = fc.record({
      field: fc.constantFrom(...PATTERN_FIELDS),
      like: fc.array(fc.stringMatching(/^[a-z.]{0,3}[*?][a-z:]{0,3}$/), { minLength: 1, maxLength: 2 }),
    })
    const { query } = fc.letrec<{ query: Query }>((tie) => ({
      query: fc.oneof(
        { maxDepth: 3 },
        fc.oneof(exact, like),
        fc.record({ and: fc.array(tie('query'), { minLength: 2, maxLength: 3 }) }),
        fc.record({ or: fc.array(tie('query'), { minLength: 2, maxLength: 3 }) }),
        fc.record({ not: tie('query') }),
      ),
    }))
    fc.assert(fc.property(query, (one) => void expect(parseQuery(formatQuery(one, noHiding))).toEqual(one)))
  })

  it('never shows a personal value', () => {
    expect(formatQuery({ not: { personal: 'iccid', value: '8986' } }, () => 'beef')).toBe('NOT personal.iccid:#beef')
  })

  it('hostile text is a clear error, and soon', () => {
    fc.assert(
      fc.property(fc.string({ maxLength: 200, unit: 'binary' }), (text) => {
        try {
          parseQuery(text)
        } catch (error) {
          expect(error).toBeInstanceOf(QueryError)
        }
      }),
    )
  })
})

describe('a query is refused', () => {
  const ok: Query = { field: 'code', is: ['ok'] }
  const deep = (levels: number): Query => (levels === 1 ? ok : { not: deep(levels - 1) })
  it.each<[string, Query]>([
    ['nested too deep', deep(LIMITS.depth + 1)],
    ['of too many conditions', { and: Array.from({ length: LIMITS.conditions + 1 }, () => ok) }],
    ['of too many values', { field: 'code', is: Array.from({ length: LIMITS.values + 1 }, () => 'a') }],
    ['that is too long', { field: 'code', is: Array.from({ length: 33 }, () => 'a'.repeat(256)) }],
    ['with a value that is too long', { field: 'code', is: ['a'.repeat(257)] }],
    ['with NUL', { field: 'code', is: ['a\u0000'] }],
    ['with half a character', { field: 'code', is: ['\ud800'] }],
    ['without values', { field: 'code', is: [] }],
    ['with a pattern where there is none', { field: 'code', like: ['o*'] }],
    ['with a pattern that cannot be written', { field: 'rule', like: ['a b*'] }],
    ['with what is no address', { field: 'address', is: ['192.0.2.1/24'] }],
    ['with what is no id', { ids: ['1'] }],
    ['with what is no time', { since: 'yesterday' }],
    ['with a day that there is not', { until: '2026-02-30' }],
    ['with what is no name of a personal value', { personal: 'a b', value: 'x' }],
  ])('%s', (_, query) => {
    expect(() => assertQuery(query)).toThrow(QueryError)
  })

  it('and not at its bounds', () => {
    expect(() => assertQuery(deep(LIMITS.depth))).not.toThrow()
    expect(parseTime('2026-01-01')).toBe(Date.UTC(2026, 0, 1))
    expect(parseTime('2026-01-01T00:30:00.5+01:00')).toBe(Date.UTC(2025, 11, 31, 23, 30, 0, 500))
  })
})

/** What an entry is indexed by. */
function termsOf(entry: Entry): Record<string, readonly string[]> {
  const index = new SegmentIndex(0)
  index.add(entry)
  return Object.fromEntries(FIELD_NAMES.map((name) => [name, index.groups(name).map(({ value }) => value)]))
}

describe('the fields', () => {
  it('have a number each, which stored rows keep', () => {
    expect(Object.fromEntries(Object.entries(FIELDS).map(([name, { number }]) => [name, number]))).toEqual({
      ...{ caller: 1, role: 2, zone: 3, address: 4, operation: 5, object: 6, code: 7, kind: 8, rule: 9, revision: 10, parent: 11 },
    })
  })

  const entry = {
    ...{ v: 1, kind: 'outcome', effect: 'durable', id: '0198f2c1-7a40-7c3e-9d52-6a1f0b2c3d4e', time: '2026-01-01T00:00:00.000Z' },
    ...{ writer: { slot: 0, epoch: 1, seq: 0 }, operation: 'kms.key.generate', code: 'ok' },
    caller: { kind: 'officer', name: 'alice', id: 'o1', address: '::ffff:192.0.2.7' },
    uses: [{ action: 'sign', keyId: 'root:statement' }],
    facts: {
      ...{ keyId: 'k1', algorithm: 'ec-p256', serials: ['01', '02'], requester: 'urn:gridseal:vendor:acme', fingerprint: 'ab'.repeat(32), count: 7 },
      ...{ reason: 'it is old', note: 'x'.repeat(300), order: 'n'.repeat(300) },
    },
    rows: [{ table: 'kms_keys', id: 'k1', version: 1, digest: 'd' }],
    decision: { effect: 'allow', rule: 'r1', revision: 'rev', zones: ['a', 'b'] },
  } as unknown as Entry

  it('are found in an entry: things by their ids, and not what is said about them', () => {
    expect(termsOf(entry)).toMatchObject({
      ...{ caller: ['urn:gridseal:officer:alice'], role: ['officer'], zone: ['a', 'b'], kind: ['outcome'], code: ['ok'], rule: ['r1'], revision: ['rev'] },
      object: ['root:statement', 'k1', '01', '02', 'urn:gridseal:vendor:acme', 'ab'.repeat(32)],
    })
    expect(matches({ field: 'address', is: ['192.0.2.0/24'] }, entry, 0, () => [])).toBe(true)
    expect(matches({ field: 'address', is: ['192.0.3.0/24', '2001:db8::1'] }, entry, 0, () => [])).toBe(false)
  })

  it.each<[string, readonly string[], readonly string[]]>([
    [
      '192.0.2.7',
      ['192.0.2.7', '::ffff:192.0.2.7', '192.0.2.4/30', '192.0.2.0/24', '192.0.0.0/22', '0.0.0.0/0'],
      ['192.0.2.8', '192.0.2.8/29', '192.0.3.0/24', '::/0'],
    ],
    [
      '2001:db8:0:1::7',
      ['2001:db8:0:1:0:0:0:7', '2001:db8:0:1::/64', '2001:db8::/48', '2001:db8::/32', '::/0'],
      ['2001:db8:0:2::/64', '2001:db8:1::/48', '0.0.0.0/0'],
    ],
  ])('%s lies in the networks that it lies in', (address, inside, outside) => {
    const from = { ...entry, caller: { ...entry.caller, address } }
    for (const one of inside) expect([one, matches({ field: 'address', is: [one] }, from, 0, () => [])]).toEqual([one, true])
    for (const one of outside) expect([one, matches({ field: 'address', is: [one] }, from, 0, () => [])]).toEqual([one, false])
  })

  it('an entry from before zones were recorded has none', () => {
    const { decision: _, ...old } = entry
    expect(termsOf(old)['zone']).toEqual([])
  })
})
