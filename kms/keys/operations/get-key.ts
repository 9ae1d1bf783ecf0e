import { z } from 'zod'
import type { KeyId } from '../../../core/ids.ts'
import { Problem } from '../../../core/problem.ts'
import type { RowSealer } from '../../../core/row.ts'
import { operation } from '../../../policies/operation.ts'
import { type FoundKey, keyFacts } from '../key.ts'
import type { KeyStore } from '../key-store.ts'
import { keyIdText, present } from '../messages.ts'
import { keyView, viewKey } from '../view.ts'

interface Target {
  readonly keyId: KeyId
  readonly found: FoundKey | undefined
}

export const getKeyOperation = ({ keys, sealer }: { readonly keys: KeyStore; readonly sealer: RowSealer }) =>
  operation({
    name: 'kms.key.get',
    summary: 'Tells what a key is, with its public part or check value.',
    effect: 'transient',
    route: { method: 'GET', path: '/v1/kms/keys/{keyId}' },
    input: z.strictObject({ keyId: keyIdText }),
    output: keyView,
    locate: async ({ keyId }): Promise<Target> => ({ keyId, found: await keys.findKey(keyId) }),
    uses: () => [],
    facts: ({ keyId, found }) => ({ public: keyFacts(keyId, found?.record) }),
    admit: ({ found }) => (found === undefined || found.record.wrapped === undefined ? new Problem('not-found', 'There is no key with this id.') : undefined),
    execute: async (_permit, { found }) => {
      const { record, sealed } = present(found)
      await sealer.assertRows([sealed])
      return record
    },
    respond: (_target, record) => viewKey(record),
  })
