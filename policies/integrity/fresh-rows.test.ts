import { describe, expect, it } from 'vitest'
import { digestRow, type Row, type RowDigest, tombstoneOf } from '../../core/row.ts'
import type { SealedTable } from '../../core/sealed-table.ts'
import type { FoundEntry } from '../audit/reader.ts'
import { FreshRows } from './fresh-rows.ts'

const rowOf = (id: string, version = 1): Row => ({ table: 'person_sessions', schema: 1, id, version, columns: { state: `state ${String(version)}` } })

/** A log whose entries name at most one row each, and a table. */
class House {
  readonly entries: (RowDigest | undefined)[] = []
  readonly rows = new Map<string, Row>()
  readonly fresh: FreshRows

  constructor() {
    const table = {
      name: 'person_sessions',
      find: (asked: readonly { readonly id: string }[]) =>
        Promise.resolve(asked.flatMap(({ id }) => (this.rows.get(id) === undefined ? [] : [{ key: id, row: this.rows.get(id), mac: new Uint8Array() }]))),
    } as unknown as SealedTable
    const search = ({ from, limit }: { readonly from: number; readonly limit: number }): Promise<FoundEntry[]> =>
      Promise.resolve(
        this.entries
          .slice(from, from + limit)
          .map((row, at) => ({ index: from + at, bytes: new Uint8Array(), entry: { rows: row === undefined ? [] : [row] } }) as unknown as FoundEntry),
      )
    this.fresh = new FreshRows({ reader: { search }, tables: [table], reviewRows: (some) => Promise.resolve(some.map(() => 'current')) }, 0)
  }

  make(row: Row): void {
    this.rows.set(row.id, row)
    this.entries.push(digestRow(row))
  }

  delete(row: Row): void {
    this.rows.delete(row.id)
    this.entries.push(tombstoneOf(row))
  }

  /** Until all is looked at, as one turn of the service does. */
  async turn(): Promise<string[]> {
    const codes: string[] = []
    for (;;) {
      const { findings, isAll } = await this.fresh.look()
      codes.push(...findings.map(({ code, subject }) => `${code}: ${subject}`))
      if (isAll) return codes
    }
  }
}

describe('rows of new entries', () => {
  it('that were deleted thousands of entries later are no findings', async () => {
    const house = new House()
    house.make(rowOf('a'))
    house.entries.push(...Array.from({ length: 5_000 }, () => undefined))
    house.delete(rowOf('a'))
    expect(await house.turn()).toEqual([])
    expect(await house.turn()).toEqual([])
  })

  it('that are gone are told at the second turn, however many entries came first', async () => {
    const house = new House()
    house.make(rowOf('a'))
    house.make(rowOf('b'))
    house.entries.push(...Array.from({ length: 5_000 }, () => undefined))
    house.make(rowOf('c'))
    for (const id of ['a', 'c']) house.rows.delete(id)
    expect(await house.turn()).toEqual([])
    house.entries.push(undefined)
    expect((await house.turn()).sort()).toEqual(['row-deleted: person_sessions a', 'row-deleted: person_sessions c'])
    expect(await house.turn()).toEqual([])
  })

  it('that an entry names which is sequenced later are no findings', async () => {
    const house = new House()
    house.make(rowOf('a'))
    house.rows.delete('a')
    expect(await house.turn()).toEqual([])
    house.entries.push(tombstoneOf(rowOf('a')))
    expect(await house.turn()).toEqual([])
    expect(await house.turn()).toEqual([])
  })
})
