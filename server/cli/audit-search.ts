import { parseQuery } from '../../policies/audit/search/query-text.ts'
import { CliError } from './cli-error.ts'
import { Prompt } from './prompt.ts'
import { assertReach, type ReachOptions, withClient } from './with-client.ts'

export interface SearchOptions extends ReachOptions {
  readonly order?: string
  readonly from?: string
  readonly limit?: string
  /** Names of personal values that are asked for on the terminal. */
  readonly personal?: readonly string[]
  /** A field, or `time`: counts in place of entries. */
  readonly count?: string
  readonly bucketMs?: string
}

interface Page {
  readonly entries: readonly { readonly index: number; readonly entry: object }[]
  readonly next?: number
  readonly searchedTo: number
  readonly size: number
}

interface Counts {
  readonly total: number
  readonly groups: readonly { readonly value: string; readonly count: number }[]
  readonly more: number
}

/** Prints what is found, an entry a line, as JSON with its index; or counts. What is not the answer itself goes to standard error. */
export async function searchCommand(
  text: string | undefined,
  { order, from, limit, personal = [], count, bucketMs, ...options }: SearchOptions,
): Promise<void> {
  assertReach(options)
  const asked = await queryOf(text, personal)
  const query = asked === undefined ? {} : { query: asked }
  if (count !== undefined) {
    const body = { ...query, by: count, ...(bucketMs === undefined ? {} : { bucketMs: numberOf(bucketMs, '--bucket-ms') }) }
    const counts = await withClient(options, (client) => client.post<Counts>('/v1/policies/audit/counts', body))
    for (const group of counts.groups) console.log(`${String(group.count).padStart(10)}  ${group.value}`)
    console.error(`${String(counts.total)} entries${counts.more === 0 ? '' : `; ${String(counts.more)} groups more`}`)
    return
  }
  const body = {
    ...{ ...query, ...(order === undefined ? {} : { order }) },
    ...(from === undefined ? {} : { from: numberOf(from, '--from') }),
    ...(limit === undefined ? {} : { limit: numberOf(limit, '--limit') }),
  }
  const { entries, next, searchedTo, size } = await withClient(options, (client) => client.post<Page>('/v1/policies/audit/search', body))
  for (const { index, entry } of entries) console.log(JSON.stringify({ index, ...entry }))
  if (entries.length === 0) console.error('No entries.')
  if (next !== undefined) console.error(`There may be more: --from ${String(next)}`)
  if (searchedTo < size) console.error(`The index is behind: ${String(searchedTo)} of ${String(size)} entries were searched.`)
}

async function queryOf(text: string | undefined, personal: readonly string[]): Promise<object | undefined> {
  const parts: object[] = []
  try {
    if (text !== undefined) parts.push(parseQuery(text))
  } catch (error) {
    throw new CliError(`The query: ${error instanceof Error ? error.message : String(error)}`)
  }
  if (personal.length > 0) {
    const prompt = new Prompt()
    try {
      for (const name of personal) parts.push({ personal: name, value: await prompt.ask(`Value of ${name}`) })
    } finally {
      prompt.close()
    }
  }
  return parts.length < 2 ? parts[0] : { and: parts }
}

function numberOf(text: string, option: string): number {
  if (!/^(0|[1-9]\d{0,15})$/.test(text)) throw new CliError(`${option} takes a number, not ${text}`)
  return Number(text)
}
