import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { digestRow, type Row, tombstoneOf } from '../../core/row.ts'
import { judgeRow, keyOf, RowBook } from './row-book.ts'

const row = (version: number, { id = 'a', table = 'callers', state = `state ${String(version)}` } = {}): Row => ({
  table,
  schema: 1,
  id,
  version,
  columns: { state },
})

/** What is judged of one row; entries before 10 were committed before the tables were read. */
function judged(work: (book: RowBook) => void): (string | undefined)[] {
  const book = new RowBook()
  try {
    work(book)
    return [...book.pages()].map((page) => judgeRow(page, 10))
  } finally {
    book.close()
  }
}
const named = (book: RowBook, one: Row, index: number, ageMs = 0): void => book.name(digestRow(one), { index, ageMs })

describe('a row and what the log says of it', () => {
  const CASES: readonly (readonly [claim: string, verdict: string | undefined, work: (book: RowBook) => void])[] = [
    ['stands as its newest version', undefined, (book) => [named(book, row(1), 1), named(book, row(2), 2), book.stand(row(2), true)]],
    ['of whatever order the entries are', undefined, (book) => [named(book, row(2), 1), named(book, row(1), 2), book.stand(row(2), true)]],
    ['stands without the token’s MAC', 'row-edited', (book) => [named(book, row(1), 1), book.stand(row(1), false)]],
    ['stands as an older version', 'row-replayed', (book) => [named(book, row(1), 1), named(book, row(2), 2), book.stand(row(1), true)]],
    ['is gone', 'row-deleted', (book) => named(book, row(1), 1)],
    ['is named by nobody', 'row-added', (book) => book.stand(row(1), true)],
    ['stands as another row of its version', 'row-differs', (book) => [named(book, row(1), 1), book.stand(row(1, { state: 'other' }), true)]],
    ['stands as a version that nobody names', 'row-differs', (book) => [named(book, row(1), 1), book.stand(row(2), true)]],
    ['was deleted, and is', undefined, (book) => [named(book, row(1), 1), book.name(tombstoneOf(row(1)), { index: 2, ageMs: 0 })]],
    [
      'was deleted, and stands',
      'row-replayed',
      (book) => [named(book, row(1), 1), book.name(tombstoneOf(row(1)), { index: 2, ageMs: 0 }), book.stand(row(1), true)],
    ],
    ['was changed while the tables were read: before', undefined, (book) => [named(book, row(1), 1), named(book, row(2), 11), book.stand(row(1), true)]],
    ['was changed while the tables were read: after', undefined, (book) => [named(book, row(1), 1), named(book, row(2), 11), book.stand(row(2), true)]],
    ['was made while the tables were read', undefined, (book) => named(book, row(1), 11)],
    ['was deleted while the tables were read', undefined, (book) => [named(book, row(1), 1), book.name(tombstoneOf(row(1)), { index: 11, ageMs: 0 })]],
    [
      'was changed meanwhile, and is older than before',
      'row-replayed',
      (book) => [named(book, row(1), 1), named(book, row(2), 2), named(book, row(3), 11), book.stand(row(1), true)],
    ],
    ['was changed meanwhile, and is gone', 'row-deleted', (book) => [named(book, row(1), 1), named(book, row(2), 11)]],
    ['is a challenge, purged after a day', undefined, (book) => named(book, row(1, { table: 'attestation_nonces' }), 1, 86_400_000)],
    ['is a challenge, gone within the day', 'row-deleted', (book) => named(book, row(1, { table: 'attestation_nonces' }), 1, 3_600_000)],
    [
      'is a challenge, spent and put back',
      'row-replayed',
      (book) => [
        named(book, row(1, { table: 'attestation_nonces' }), 1, 9e7),
        named(book, row(2, { table: 'attestation_nonces' }), 2, 9e7),
        book.stand(row(1, { table: 'attestation_nonces' }), true),
      ],
    ],
    ['is a use of a session, which no entry names', undefined, (book) => book.stand(row(3, { table: 'person_session_uses' }), true)],
    ['is an edited use of a session', 'row-edited', (book) => book.stand(row(3, { table: 'person_session_uses' }), false)],
    ['is a backup of a ceremony, which no entry names', undefined, (book) => book.stand(row(1, { table: 'token_key_backups' }), true)],
    ['has a version that is none', 'row-edited', (book) => [named(book, row(1), 1), book.stand(row(-7), false)]],
  ]

  it.each(CASES)('that %s: %s', (_claim, verdict, work) => {
    expect(judged(work)).toEqual([verdict])
  })

  it('of a table that keeps its versions has a page for each', () => {
    const admission = (version: number) => row(version, { table: 'admissions' })
    expect(
      judged((book) => [named(book, admission(1), 1), named(book, admission(2), 2), book.stand(admission(1), true), book.stand(admission(2), true)]),
    ).toEqual([undefined, undefined])
    const verdicts = judged((book) => [named(book, admission(1), 1), named(book, admission(2), 2), book.stand(admission(1), true)])
    expect(new Set(verdicts)).toEqual(new Set(['row-deleted', undefined]))
  })

  it('is found among any number of others, and each other is right', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 3_000 }), fc.nat(), (count, at) => {
        const book = new RowBook()
        const wrong = at % count
        for (let id = 0; id < count; id += 1) {
          named(book, row(1, { id: String(id) }), 1)
          if (id !== wrong) book.stand(row(1, { id: String(id) }), true)
        }
        const found = [...book.pages()].filter((page) => judgeRow(page, 10) !== undefined)
        book.close()
        expect(found.map(({ key }) => key)).toEqual([keyOf({ table: 'callers', id: String(wrong), version: 1 })])
      }),
      { numRuns: 15 },
    )
  })
})
