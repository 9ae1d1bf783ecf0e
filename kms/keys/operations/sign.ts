import { z } from 'zod'
import { base64 } from '../../../core/bytes.ts'
import type { RowSealer } from '../../../core/row.ts'
import { operation } from '../../../policies/operation.ts'
import type { Hsm } from '../../../pkcs11/index.ts'
import { type FoundKey, keyFacts } from '../key.ts'
import type { KeyStore } from '../key-store.ts'
import { BATCH_BODY_BYTES, batchFacts, batchOf, findFor, keyIdText, messageText, obstacleTo, present, USED_KEY, usedKey } from '../messages.ts'
import type { KeyId } from '../../../core/ids.ts'

interface Target {
  readonly keyId: KeyId
  readonly found: FoundKey | undefined
  readonly messages: readonly Uint8Array[]
}

export const signOperation = ({ hsm, keys, sealer }: { readonly hsm: Hsm; readonly keys: KeyStore; readonly sealer: RowSealer }) =>
  operation({
    name: 'kms.key.sign',
    summary: 'Signs messages (ECDSA P-256 over SHA-256) or MACs them (HMAC-SHA-256), 1 to 1,000 in a batch.',
    effect: 'transient',
    route: { method: 'POST', path: '/v1/kms/keys/{keyId}/sign', maxBodyBytes: BATCH_BODY_BYTES },
    input: z.strictObject({ keyId: keyIdText, items: batchOf(z.strictObject({ message: messageText })) }),
    output: z.object({
      ...USED_KEY,
      signatures: z
        .array(
          z.object({ signature: z.string().meta({ description: 'ec-p256: raw r||s, 64 bytes. hmac-sha256: 32 bytes. Base64.', contentEncoding: 'base64' }) }),
        )
        .meta({ description: 'In the order of the items' }),
    }),
    locate: async ({ keyId, items }): Promise<Target> => ({
      keyId,
      found: await findFor('sign', keyId, { keys, sealer }),
      messages: items.map(({ message }) => message),
    }),
    uses: ({ keyId }) => [{ action: 'sign', keyId }],
    facts: ({ keyId, found, messages }) => ({ public: { ...keyFacts(keyId, found?.record), ...batchFacts(messages) } }),
    admit: ({ found }) => obstacleTo('sign', found),
    execute: async (permit, { found, messages }) => {
      const { record, sealed } = present(found)
      return { record, signatures: await hsm.sign(permit, { id: record.id, sealed }, messages) }
    },
    respond: (_target, { record, signatures }) => ({
      ...usedKey(record),
      signatures: signatures.map((signature) => ({ signature: base64(signature) })),
    }),
  })
