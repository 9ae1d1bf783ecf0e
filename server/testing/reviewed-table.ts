import { readFileSync } from 'node:fs'
import type { Reply, Wanted } from './edge-site.ts'
import { JSON_TYPE } from './edge-site.ts'
import type { Described } from './fuzz.ts'

/** By zone, the roles that may. */
type Cells = ReadonlyMap<string, ReadonlySet<string>>
export type ReviewedTable = Readonly<Record<'own' | 'other', ReadonlyMap<string, Cells>>>

const [FIRST, WIDTH] = [45, 37]
const cell = (line: string, column: number): string => line.slice(FIRST + WIDTH * column, FIRST + WIDTH * (column + 1)).trim()

/** The reviewed table of the shipped policy: by whose matter it is, operation and zone. */
export function reviewedTable(): ReviewedTable {
  const text = readFileSync(new URL('../../policies/firewall/testing/matrix.golden.txt', import.meta.url), 'utf8')
  const [own = '', rest = ''] = text.split('On a matter of another’s, and cards of another province:')
  const [other = ''] = rest.split(/\n\n/)
  const zones = ['local', 'headquarters', 'provinces', 'intranet', 'extranet', 'internet']
  const rolesOf = (table: string): ReadonlyMap<string, Cells> => {
    const lines = table.split('\n')
    const head = lines.find((line) => line.startsWith(' '.repeat(FIRST))) ?? ''
    if (zones.some((zone, at) => cell(head, at) !== zone)) throw new Error(`the table has other columns: ${head}`)
    return new Map(
      lines
        .filter((line) => /^[a-z-]+(\.[a-z-]+)+ /.test(line))
        .map((line) => [line.slice(0, FIRST).trim(), new Map(zones.map((zone, at) => [zone, new Set(cell(line, at).split(/[ -]+/).filter(Boolean))]))]),
    )
  }
  return { own: rolesOf(own), other: rolesOf(other) }
}

/** What is open to anybody, or to a person in no role: not a matter of roles. */
export const NO_ROLE = /^policies\.(session|password|totp)\./

/** The request that a seed's fields are. */
export function wantedOf({ method, path }: Described, fields: Readonly<Record<string, unknown>>): Wanted {
  const rest = { ...fields }
  const filled = path.replaceAll(/\{(\w+)\}/g, (_all, name: string) => {
    const value = rest[name]
    delete rest[name]
    return encodeURIComponent(String(value))
  })
  if (method === 'POST') return { method, path: filled, headers: JSON_TYPE, body: JSON.stringify(rest) }
  const query = new URLSearchParams(Object.entries(rest).map(([name, value]) => [name, String(value)])).toString()
  return { method, path: query === '' ? filled : `${filled}?${query}` }
}

/** Whether it was the policy that said no. */
export const isDenied = ({ status, text }: Reply): boolean => status === 403 && /no rule of the policy allows it|of the policy denies it/.test(text)
