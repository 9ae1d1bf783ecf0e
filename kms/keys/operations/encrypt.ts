import { z } from 'zod'
import { base64 } from '../../../core/bytes.ts'
import type { KeyId } from '../../../core/ids.ts'
import type { RowSealer } from '../../../core/row.ts'
import { operation } from '../../../policies/operation.ts'
import type { Ciphers, Plain } from '../../../pkcs11/index.ts'
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

interface Target {
  readonly keyId: KeyId
  readonly found: FoundKey | undefined
  readonly items: readonly Plain[]
}

/** The log has digests of what comes out and not of what goes in: a plaintext can be guessed by its digest. */
export const encryptOperation = ({ hsm, keys, sealer }: { readonly hsm: Ciphers; readonly keys: KeyStore; readonly sealer: RowSealer }) =>
  operation({
    name: 'kms.key.encrypt',
    summary: 'Encrypts by AES-256-GCM, 1 to 256 plaintexts in a batch. A key is for up to 2^32 of them (NIST SP 800-38D, 8.3).',
    effect: 'transient',
    route: { method: 'POST', path: '/v1/kms/keys/{keyId}/encrypt', maxBodyBytes: BATCH_BODY_BYTES },
    input: z.strictObject({
      keyId: keyIdText,
      items: batchOf(
        z.strictObject({ plaintext: base64Text(MESSAGE_BYTES, 'What to encrypt, at most 64 KiB, base64'), aad: aadText.optional() }),
        CIPHER_ITEMS,
      ),
    }),
    output: z.object({
      ...USED_KEY,
      ciphertexts: z
        .array(z.object({ ciphertext: z.string().meta({ description: 'IV (12 bytes) || ciphertext || tag (16 bytes). Base64.', contentEncoding: 'base64' }) }))
        .meta({ description: 'In the order of the items' }),
    }),
    locate: async ({ keyId, items }): Promise<Target> => ({
      keyId,
      found: await findFor('encrypt', keyId, { keys, sealer }),
      items: items.map(({ plaintext, aad = new Uint8Array() }) => ({ plaintext, aad })),
    }),
    uses: ({ keyId }) => [{ action: 'encrypt', keyId }],
    facts: ({ keyId, found, items }) => ({ public: { ...keyFacts(keyId, found?.record), count: items.length } }),
    admit: ({ found }) => obstacleTo('encrypt', found),
    execute: async (permit, { found, items }) => {
      const { record, sealed } = present(found)
      return { record, ciphertexts: await hsm.encrypt(permit, { id: record.id, sealed }, items) }
    },
    outcomeFacts: (_target, { ciphertexts }) => ({ public: batchFacts(ciphertexts) }),
    respond: (_target, { record, ciphertexts }) => ({
      ...usedKey(record),
      ciphertexts: ciphertexts.map((ciphertext) => ({ ciphertext: base64(ciphertext) })),
    }),
  })
