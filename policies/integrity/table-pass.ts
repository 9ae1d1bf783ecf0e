import { Problem } from '../../core/problem.ts'
import type { SealedRow } from '../../core/row.ts'
import type { DependentRows, Placed, SealedTable } from '../../core/sealed-table.ts'
import type { Finding } from './finding.ts'

export interface TablePassDeps {
  readonly tables: readonly SealedTable[]
  readonly dependents: readonly DependentRows[]
  /** Whose MAC each row's is; `nobody`: not the token's. */
  readonly reviewRows: (rows: readonly SealedRow[]) => Promise<readonly string[]>
  readonly find: (finding: Finding) => void
  /** Called between pages with the rows that are done. */
  readonly between: (done: number) => Promise<void>
}

const PAGE = 500

/**
 * Reads every sealed row once, and tells of each whether the token made its MAC. Rows that stand without MACs are compared with those that they were sealed with. Answers
 * how many there are, and the tables that could not be read.
 */
export async function passTables(
  { tables, dependents, reviewRows, find, between }: TablePassDeps,
  stand: (placed: Placed, isSealed: boolean) => void,
): Promise<{ readonly rows: number; readonly unreadable: ReadonlySet<string> }> {
  const unreadable = new Set<string>()
  let rows = 0
  for (const table of tables) {
    const own = dependents.filter((one) => one.table === table.name)
    try {
      for await (const page of pagesOf(table)) {
        const sealedBy = await reviewRows(page)
        page.forEach((placed, at) => stand(placed, sealedBy[at] !== 'nobody'))
        const sealed = page.filter((_, at) => sealedBy[at] !== 'nobody').map(({ row }) => row)
        for (const dependent of own)
          for (const { id, detail } of await dependent.check(sealed)) find({ code: 'content-differs', subject: `${table.name} ${id}`, detail })
        rows += page.length
        await between(rows)
      }
      for (const dependent of own)
        for (const { id, detail } of await dependent.strays()) find({ code: 'content-differs', subject: `${table.name} ${id}`, detail })
    } catch (error) {
      if (error instanceof Problem) throw error
      unreadable.add(table.name)
      find({ code: 'table-unreadable', subject: `table ${table.name}`, detail: error instanceof Error ? error.message : String(error) })
    }
  }
  return { rows, unreadable }
}

/** All rows of a table, page by page. */
export async function* pagesOf(table: SealedTable): AsyncGenerator<readonly Placed[]> {
  for (let after: string | undefined; ; ) {
    const page = await table.page(after, PAGE)
    if (page.length === 0) return
    yield page
    after = page.at(-1)?.key
  }
}
