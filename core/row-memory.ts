import { hash } from 'node:crypto'
import { encodeRow, type RowSealer, type SealedRow } from './row.ts'

/** Rows of a generation; two generations are kept: some 10 MB at the most. */
const MOST = 32_768

/**
 * A sealer that asks the token once about a row and its MAC: what it made, or found right, needs no second question. The memory is of SHA-256 digests over MAC and
 * row, so that one changed bit is another row; that a right row is an old one no MAC tells, with or without a memory.
 */
export function rememberRows(sealer: RowSealer, most = MOST): RowSealer & { forgetRows(): void } {
  let [young, old] = [new Set<string>(), new Set<string>()]
  const remember = (digest: string): void => {
    if (young.size >= most) [young, old] = [new Set(), young]
    young.add(digest)
  }
  const isKnown = (digest: string): boolean => {
    if (young.has(digest)) return true
    if (!old.has(digest)) return false
    remember(digest)
    return true
  }

  return {
    // A MAC by a key that was retired is to be asked about again, and refused.
    forgetRows: () => {
      young = new Set()
      old = new Set()
    },
    macRows: async (rows) => {
      const macs = await sealer.macRows(rows)
      rows.forEach((row, at) => {
        const mac = macs[at]
        if (mac !== undefined) remember(digestOf({ row, mac }))
      })
      return macs
    },
    assertRows: async (rows) => {
      const asked = rows.map((row) => ({ row, digest: digestOf(row) })).filter(({ digest }) => !isKnown(digest))
      if (asked.length === 0) return
      await sealer.assertRows(asked.map(({ row }) => row))
      for (const { digest } of asked) remember(digest)
    },
  }
}

/** The MAC goes first, framed by its length, so that no other pair has the same bytes. */
const digestOf = ({ row, mac }: SealedRow): string => hash('sha256', Buffer.concat([Uint8Array.of(mac.length), mac, encodeRow(row)]), 'base64')
