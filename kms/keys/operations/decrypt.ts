import { z } from 'zod'
import { base64 } from '../../../core/bytes.ts'
import type { KeyId } from '../../../core/ids.ts'
import { Problem } from '../../../core/problem.ts'
import type { RowSealer } from '../../../core/row.ts'
import { operation } from '../../../policies/operation.ts'
import type { Ciphers, Encrypted } from '../../../pkcs11/index.ts'
import { type FoundKey, keyFacts } from '../key.ts'
import type { KeyStore } from '../key-store.ts'
import {
  aadText,
  BATCH_BODY_BYTES,
  base64Text,
  batchFacts,
  batchOf,
  CIPHER_ITEMS,
  findFor,
  keyIdText,
  MESSAGE_BYTES,
  obstacleTo,
  present,
  USED_KEY,
  usedKey,
} from '../messages.ts'
import { KEY_STATES } from '../state.ts'

interface Target {
  readonly keyId: KeyId
  readonly found: FoundKey | undefined
  readonly items: readonly Encrypted[]
}

/** IV and tag. */
const OVERHEAD_BYTES = 28

/** All of a batch or nothing: what does not open is a fault of the request, named with its place, and no plaintext is answered beside it. */
export const decryptOperation = ({ hsm, keys, sealer }: { readonly hsm: Ciphers; readonly keys: KeyStore; readonly sealer: RowSealer }) =>
  operation({
    name: 'kms.key.decrypt',
    summary: 'Decrypts what a key encrypted by AES-256-GCM, 1 to 256 ciphertexts in a batch: all of them, or a fault for each that is not right.',
    effect: 'transient',
    route: { method: 'POST', path: '/v1/kms/keys/{keyId}/decrypt', maxBodyBytes: BATCH_BODY_BYTES },
    input: z.strictObject({
      keyId: keyIdText,
      items: batchOf(
        z.strictObject({ ciphertext: base64Text(MESSAGE_BYTES + OVERHEAD_BYTES, 'As kms.key.encrypt gives it, base64'), aad: aadText.optional() }),
        CIPHER_ITEMS,
      ),
    }),
    output: z.object({
      ...USED_KEY,
      keyState: z.enum(KEY_STATES).meta({
        description: 'What a suspended or compromised key encrypted may have been read, or made, by someone else (NIST SP 800-57 part 1, 7.3 and 7.5).',
      }),
      plaintexts: z
        .array(z.object({ plaintext: z.string().meta({ description: 'Base64', contentEncoding: 'base64' }) }))
        .meta({ description: 'In the order of the items' }),
    }),
    locate: async ({ keyId, items }): Promise<Target> => ({
      keyId,
      found: await findFor('decrypt', keyId, { keys, sealer }),
      items: items.map(({ ciphertext, aad = new Uint8Array() }) => ({ ciphertext, aad })),
    }),
    uses: ({ keyId }) => [{ action: 'decrypt', keyId }],
    facts: ({ keyId, found, items }) => ({ public: { ...keyFacts(keyId, found?.record), ...batchFacts(items.map(({ ciphertext }) => ciphertext)) } }),
    admit: ({ found }) => obstacleTo('decrypt', found),
    execute: async (permit, { found, items }) => {
      const { record, sealed } = present(found)
      return { record, plaintexts: allOf(await hsm.decrypt(permit, { id: record.id, sealed }, items)) }
    },
    respond: (_target, { record, plaintexts }) => ({
      ...usedKey(record),
      keyState: record.state,
      plaintexts: plaintexts.map((plaintext) => ({ plaintext: base64(plaintext) })),
    }),
  })

function allOf(opened: readonly (Uint8Array | undefined)[]): readonly Uint8Array[] {
  const faults = opened.flatMap((plaintext, at) =>
    plaintext === undefined ? [{ message: 'the tag is wrong: of another key, with another AAD, or altered', pointer: `/items/${at}/ciphertext` }] : [],
  )
  if (faults.length > 0)
    throw new Problem('request-invalid', `${faults.length} of ${opened.length} ciphertexts do not open. Nothing was decrypted.`, { faults })
  return opened.filter((plaintext) => plaintext !== undefined)
}
