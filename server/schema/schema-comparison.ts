import { readFileSync } from 'node:fs'
import type { Sql } from '../../core/tx.ts'
import type { Finding } from '../../policies/integrity/index.ts'
import { projectFile } from '../project-file.ts'
import { describeSchema, PARTITION, type SchemaDescription } from './schema-description.ts'

/** Why the service does not start on a database. */
class SchemaError extends Error {
  override readonly name = 'SchemaError'
}

/** One thing of the schema that is not as the migrations make it. */
export interface SchemaDifference {
  readonly what: string
  readonly detail: string
  /** It was added, and takes nothing away: the service starts. */
  readonly isHarmless: boolean
}

/** The manifest as text: a line for each thing, `what: how it is`. Of partitions those of one stand for all; where they are not alike, each has its own. */
export function manifestOf({ objects, partitions }: SchemaDescription): string {
  const lines = [...objects].map(([what, is]) => `${what}: ${is}`)
  const alike = new Set(
    [...partitions.values()].map((own) =>
      [...own]
        .map(([what, is]) => `${what}: ${is}`)
        .sort()
        .join('\n'),
    ),
  )
  for (const [name, own] of partitions) {
    if (alike.size > 1) lines.push(...[...own].map(([what, is]) => `${name}: ${what}: ${is}`))
    else lines.push(...[...own].map(([what, is]) => `${what}: ${is}`))
  }
  return `${[...new Set(lines)].sort().join('\n')}\n`
}

/** The differences between what the migrations make, as the manifest has it, and what is there. */
export function compareSchema(manifest: string, { objects, partitions }: SchemaDescription): SchemaDifference[] {
  const lines = manifest.trimEnd().split('\n').map(splitLine)
  const isOfPartition = ([what]: readonly [string, string]): boolean => what.includes(PARTITION)
  const differences = compare(new Map(lines.filter((line) => !isOfPartition(line))), objects)
  const ofEach = new Map(lines.filter(isOfPartition))
  for (const [name, own] of partitions)
    for (const { what, detail, isHarmless } of compare(ofEach, own))
      differences.push({ what: what.replaceAll(PARTITION, name), detail: detail.replaceAll(PARTITION, name), isHarmless })
  return differences
}

function compare(wanted: ReadonlyMap<string, string>, there: ReadonlyMap<string, string>): SchemaDifference[] {
  const differences: SchemaDifference[] = []
  for (const [what, is] of wanted) {
    const found = there.get(what)
    if (found === undefined) differences.push({ what, detail: `it is missing; it is to be: ${is}`, isHarmless: false })
    else if (found !== is) differences.push({ what, detail: `it is: ${found}; it is to be: ${is}`, isHarmless: false })
  }
  for (const [what, is] of there) if (!wanted.has(what)) differences.push({ what, detail: `it was added: ${is}`, isHarmless: isHarmless(what, is) })
  return differences
}

/** What stands beside ours and does nothing by itself, and that others may read. */
const isHarmless = (what: string, is: string): boolean =>
  /^(table|view|sequence|function|extension) /.test(what)
    ? !/inherits /.test(is)
    : /^rights of .* on (?!the schema)/.test(what) && /^SELECT( \(.*\))?$/.test(is)

const splitLine = (line: string): readonly [string, string] => {
  const at = line.indexOf(': ')
  return [line.slice(0, at), line.slice(at + 2)]
}

/** How the schema differs from what this version makes. */
export async function schemaDifferences(sql: Sql): Promise<SchemaDifference[]> {
  const differences = compareSchema(readFileSync(projectFile('server/schema/manifest.txt'), 'utf8'), await describeSchema(sql))
  // What belongs to a table that is none of ours is no matter either.
  const foreign = differences.flatMap(({ what, isHarmless: own }) => (own && what.startsWith(TABLE) ? [what.slice(TABLE.length)] : []))
  return differences.map((one) => ({ ...one, isHarmless: one.isHarmless || foreign.some((name) => isOf(one.what, name)) }))
}

const TABLE = 'table '
const isOf = (what: string, table: string): boolean => what.endsWith(` on ${table}`) || what.startsWith(`column ${table}.`)

/**
 * Refuses a schema that is not what this version makes: what the database promises, such as that a card is in one device, would be nobody's promise any more. There is no
 * way around it: it is put back, and found again as it is to be. `onMore`: told of what was added and harms nothing.
 */
export async function assertSchema(sql: Sql, onMore: (what: string) => void): Promise<void> {
  const differences = await schemaDifferences(sql)
  for (const { what } of differences.filter((one) => one.isHarmless)) onMore(what)
  const wrong = differences.filter((one) => !one.isHarmless)
  if (wrong.length === 0) return
  throw new SchemaError(
    `The schema of the database is not what this version makes. Somebody changed it:\n${wrong.map(({ what, detail }) => `  ${what}: ${detail}`).join('\n')}\n` +
      'Put each back as it is to be, as the owner of the tables, and find out who changed it. What was written meanwhile: gridseal integrity check.',
  )
}

/** As findings of the integrity check: what was added and harms nothing is none. */
export const schemaFindings = async (sql: Sql): Promise<Finding[]> =>
  (await schemaDifferences(sql)).filter((one) => !one.isHarmless).map(({ what, detail }) => ({ code: 'schema-differs', subject: what, detail }))
