import { z } from 'zod'
import type { KeyId } from '../../../core/ids.ts'
import type { RowSealer } from '../../../core/row.ts'
import { operation } from '../../../policies/operation.ts'
import type { Hsm } from '../../../pkcs11/index.ts'
import { type FoundKey, keyFacts } from '../key.ts'
import type { KeyStore } from '../key-store.ts'
import { BATCH_BODY_BYTES, base64Text, batchFacts, batchOf, findFor, keyIdText, messageText, obstacleTo, present, USED_KEY, usedKey } from '../messages.ts'
import { KEY_STATES } from '../state.ts'

interface Target {
  readonly keyId: KeyId
  readonly found: FoundKey | undefined
  readonly items: readonly { readonly message: Uint8Array; readonly signature: Uint8Array }[]
}

export const verifyOperation = ({ hsm, keys, sealer }: { readonly hsm: Hsm; readonly keys: KeyStore; readonly sealer: RowSealer }) =>
  operation({
    name: 'kms.key.verify',
    summary: 'Verifies signatures or MACs of a key, 1 to 1,000 in a batch.',
    effect: 'transient',
    route: { method: 'POST', path: '/v1/kms/keys/{keyId}/verify', maxBodyBytes: BATCH_BODY_BYTES },
    input: z.strictObject({
      keyId: keyIdText,
      items: batchOf(
        z.strictObject({
          message: messageText,
          signature: base64Text(256, 'The signature as kms.key.sign gives it. One of another form is answered valid: false.'),
        }),
      ),
    }),
    output: z.object({
      ...USED_KEY,
      keyState: z.enum(KEY_STATES).meta({
        description: 'A valid signature of a suspended or compromised key may have been made by someone else (NIST SP 800-57 part 1, 7.3 and 7.5).',
      }),
      results: z.array(z.object({ valid: z.boolean() })).meta({ description: 'In the order of the items' }),
    }),
    locate: async ({ keyId, items }): Promise<Target> => ({ keyId, found: await findFor('verify', keyId, { keys, sealer }), items }),
    uses: ({ keyId }) => [{ action: 'verify', keyId }],
    facts: ({ keyId, found, items }) => ({ public: { ...keyFacts(keyId, found?.record), ...batchFacts(items.map(({ message }) => message)) } }),
    admit: ({ found }) => obstacleTo('verify', found),
    execute: async (permit, { found, items }) => {
      const { record, sealed } = present(found)
      return { record, valid: await hsm.verify(permit, { id: record.id, sealed }, items) }
    },
    outcomeFacts: (_target, { valid }) => ({ public: { valid: valid.filter(Boolean).length } }),
    respond: (_target, { record, valid }) => ({
      ...usedKey(record),
      keyState: record.state,
      results: valid.map((one) => ({ valid: one })),
    }),
  })
