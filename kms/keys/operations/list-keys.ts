import { z } from 'zod'
import type { RowSealer } from '../../../core/row.ts'
import { callerUrn } from '../../../policies/caller.ts'
import { operation } from '../../../policies/operation.ts'
import type { FoundKey } from '../key.ts'
import type { KeyStore } from '../key-store.ts'
import { keyIdText } from '../messages.ts'
import { keyView, viewKey } from '../view.ts'

interface Target {
  readonly owner: string
  readonly found: readonly FoundKey[]
  readonly limit: number
}

export const listKeysOperation = ({ keys, sealer }: { readonly keys: KeyStore; readonly sealer: RowSealer }) =>
  operation({
    name: 'kms.key.list',
    summary: "Lists the caller's own keys, oldest first.",
    effect: 'transient',
    route: { method: 'GET', path: '/v1/kms/keys' },
    input: z.strictObject({
      limit: z.coerce.number().int().min(1).max(500).default(100).meta({ description: 'The most keys to answer' }),
      after: keyIdText.optional().meta({ description: '`next` of the page before' }),
    }),
    output: z.object({
      keys: z.array(keyView),
      next: z.string().optional().meta({ description: 'Ask with `after` set to it for the next page. Absent on the last page.' }),
    }),
    locate: async ({ limit, after }, caller): Promise<Target> => {
      const owner = callerUrn(caller)
      return { owner, limit, found: await keys.listKeys(owner, { limit: limit + 1, ...(after === undefined ? {} : { after }) }) }
    },
    uses: () => [],
    facts: ({ owner }) => ({ public: { owner } }),
    execute: async (_permit, { found, limit }) => {
      const page = found.slice(0, limit)
      await sealer.assertRows(page.map(({ sealed }) => sealed))
      return page.map(({ record }) => record)
    },
    outcomeFacts: (_target, page) => ({ public: { count: page.length } }),
    respond: ({ found, limit }, page) => {
      const last = found.length > limit ? page.at(-1)?.id : undefined
      return { keys: page.map(viewKey), ...(last === undefined ? {} : { next: last }) }
    },
  })
