import type { SealedTable } from '../../core/sealed-table.ts'
import type { RotatedKey } from '../../pkcs11/index.ts'
import type { GroupTable } from '../../policies/audit/index.ts'
import type { Cursor } from './rotation.ts'

/** Rows of one page: of one operation and one transaction. */
export const PAGE_ROWS = 500

interface Tables {
  readonly tables: () => readonly SealedTable[]
  readonly groups: GroupTable
}

/**
 * What is under each root key. Storage KEK: the column `wrapped` of every table that holds keys. Row MAC: every sealed table. Group MAC: the groups of the log, the
 * sequenced ones too, since by it an entry that is read is known to be what was committed.
 */
const tablesOf = ({ tables, groups }: Tables, key: RotatedKey): readonly (SealedTable | GroupTable)[] => {
  if (key === 'group-mac') return [groups]
  return key === 'storage-kek' ? tables().filter(({ holdsKeys }) => holdsKeys) : tables()
}

export async function countRows(deps: Tables, key: RotatedKey): Promise<number> {
  const counts = await Promise.all(tablesOf(deps, key).map((table) => table.count()))
  return counts.reduce((sum, count) => sum + count, 0)
}

type PageOf<Table extends SealedTable | GroupTable> = {
  readonly table: Table
  readonly rows: Awaited<ReturnType<Table['page']>>
  /** Where the page after it begins. Absent: there is none. */
  readonly next?: Cursor
}
export type RowPage = PageOf<SealedTable> | PageOf<GroupTable>
export const isGroups = (page: RowPage): page is PageOf<GroupTable> => page.table.name === 'audit_groups'

/** The rows from the cursor on, of one table; undefined where there are none any more. A table that is not there any more is passed over with all before it. */
export async function pageFrom(deps: Tables, key: RotatedKey, cursor: Cursor | undefined): Promise<RowPage | undefined> {
  const tables = tablesOf(deps, key)
  let at =
    cursor === undefined
      ? 0
      : Math.max(
          0,
          tables.findIndex(({ name }) => name === cursor.table),
        )
  for (let after = cursor?.key; at < tables.length; at++, after = undefined) {
    const table = tables[at] as SealedTable | GroupTable
    const rows = await table.page(after, PAGE_ROWS)
    const [last, following] = [rows.at(-1), tables[at + 1]]
    if (last === undefined) continue
    const next = rows.length === PAGE_ROWS ? { table: table.name, key: last.key } : following && { table: following.name, key: undefined }
    return { table, rows, ...(next === undefined ? {} : { next }) } as RowPage
  }
  return undefined
}
