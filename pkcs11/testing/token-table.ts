import { readFileSync } from 'node:fs'
import type { TokenReport } from '../index.ts'

/** What README.md says of a token: its column of the table, by first cell. */
export function columnOfReadme(title: string): Map<string, string> {
  const rows = [...readFileSync(new URL('../../README.md', import.meta.url), 'utf8').matchAll(/^\|(.+)\|$/gm)].map(([, cells = '']) =>
    cells.split('|').map((cell) => cell.trim()),
  )
  const head = rows.findIndex((cells) => cells.includes(title))
  const column = rows[head]?.indexOf(title) ?? -1
  if (head < 0) throw new Error(`README.md has no column ${title}`)
  const found = new Map<string, string>()
  for (const cells of rows.slice(head + 2)) {
    if (cells.length !== rows[head]?.length) break
    found.set(cells[0] ?? '', cells[column] ?? '')
  }
  return found
}

/** What a check found, in the words of that table. */
export const columnOf = ({ operations, probes }: TokenReport): Map<string, string> =>
  new Map([
    ...operations.map(
      ({ title, result, remark }) => [title, `${result}${remark === undefined ? '' : result === 'yes' ? `, ${remark}` : `: ${remark}`}`] as const,
    ),
    ...probes.map(({ name, refuses, result }) => [`\`${name}\`: refuses ${refuses}`, result] as const),
  ])
