import { beforeEach, describe, expect, it } from 'vitest'
import { equalBytes, sha256 } from './bytes.ts'
import { rememberRows } from './row-memory.ts'
import { encodeRow, type Row, type RowSealer, type SealedRow } from './row.ts'

/** Stands for a token: its MAC is a digest. */
class Token implements RowSealer {
  asked: string[] = []
  isAway = false

  macRows(rows: readonly Row[]): Promise<Uint8Array[]> {
    return Promise.resolve(rows.map(macOf))
  }

  assertRows(rows: readonly SealedRow[]): Promise<void> {
    this.asked.push(...rows.map(({ row }) => row.id))
    if (this.isAway) return Promise.reject(new Error('away'))
    return rows.every(({ row, mac }) => equalBytes(mac, macOf(row))) ? Promise.resolve() : Promise.reject(new Error('wrong'))
  }
}
const macOf = (row: Row): Uint8Array => sha256(encodeRow(row)).subarray(0, 16)
const row = (id: string, state = 'active'): Row => ({ table: 'keys', schema: 1, id, version: 1, columns: { state } })
const sealed = (id: string): SealedRow => ({ row: row(id), mac: macOf(row(id)) })

describe('the memory of rows', () => {
  let token: Token
  let sealer: RowSealer
  beforeEach(() => {
    token = new Token()
    sealer = rememberRows(token, 4)
  })

  it('asks once about what is right', async () => {
    await sealer.assertRows([sealed('a'), sealed('b')])
    await sealer.assertRows([sealed('b'), sealed('c'), sealed('a')])
    expect(token.asked).toEqual(['a', 'b', 'c'])
  })

  it('asks nothing about what it made', async () => {
    const [mac = new Uint8Array()] = await sealer.macRows([row('a')])
    await sealer.assertRows([{ row: row('a'), mac }])
    expect(token.asked).toEqual([])
  })

  it('asks about a row that differs in anything, or in its MAC, every time', async () => {
    await sealer.assertRows([sealed('a')])
    const { mac } = sealed('a')
    const others: SealedRow[] = [
      { row: row('a', 'destroyed'), mac },
      { row: { ...row('a'), version: 2 }, mac },
      { row: { ...row('a'), table: 'cards' }, mac },
      { row: row('b'), mac },
      { row: row('a'), mac: mac.subarray(0, 15) },
      { row: row('a'), mac: Buffer.alloc(16) },
    ]
    for (const other of [...others, ...others]) await expect(sealer.assertRows([other])).rejects.toThrow('wrong')
    expect(token.asked).toHaveLength(1 + 2 * others.length)
  })

  it('remembers nothing of a question that failed', async () => {
    await expect(sealer.assertRows([sealed('a'), { ...sealed('b'), mac: Buffer.alloc(16) }])).rejects.toThrow('wrong')
    token.isAway = true
    await expect(sealer.assertRows([sealed('a')])).rejects.toThrow('away')
  })

  it('forgets what was asked about long ago, and keeps what is asked about', async () => {
    for (const id of ['a', 'b', 'c', 'd', 'a', 'e', 'a', 'f', 'g', 'h', 'a']) await sealer.assertRows([sealed(id)])
    expect(token.asked.filter((id) => id === 'a')).toHaveLength(1)
    await sealer.assertRows([sealed('b')])
    expect(token.asked.filter((id) => id === 'b')).toHaveLength(2)
  })
})
