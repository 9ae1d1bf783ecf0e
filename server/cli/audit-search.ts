import { assertReach, type ReachOptions, withClient } from './with-client.ts'

export interface SearchOptions extends ReachOptions {
  readonly from?: string
  readonly limit?: string
  readonly operationId?: string
  readonly operation?: string
  readonly caller?: string
  readonly code?: string
}

/** Prints what is found, an entry a line, as JSON with its index. */
export async function searchCommand({ from, limit, operationId, operation, caller, code, ...options }: SearchOptions): Promise<void> {
  assertReach(options)
  const query = new URLSearchParams(
    Object.entries({ from, limit, operationId, operation, caller, code }).flatMap(([name, value]) => (value === undefined ? [] : [[name, value]])),
  )
  const { entries } = await withClient(options, (client) =>
    client.get<{ entries: { index: number; entry: object }[] }>(`/v1/policies/audit/entries?${query.toString()}`),
  )
  for (const { index, entry } of entries) console.log(JSON.stringify({ index, ...entry }))
}
