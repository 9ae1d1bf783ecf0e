import { z } from 'zod'
import { keyId } from '../../../core/ids.ts'
import { digestRow } from '../../../core/row.ts'
import { callerUrn } from '../../../policies/caller.ts'
import { operation } from '../../../policies/operation.ts'
import type { GeneratedKey, Hsm } from '../../../pkcs11/index.ts'
import { CALLER_ALGORITHMS, type KeyRecord, keyFacts } from '../key.ts'
import type { KeyStore } from '../key-store.ts'
import { keyView, viewKey } from '../view.ts'

interface Deps {
  readonly hsm: Hsm
  readonly keys: KeyStore
  readonly now: () => Date
  readonly newId: () => string
}

/**
 * The row is reserved with the intent, so that the id and the label are taken before a key is made.
 * A crash after the key was made leaves the row reserved: the key's only copy was in memory, so it is nowhere.
 * A failure gives the label back at once, a crash after ten minutes.
 */
export const generateKeyOperation = ({ hsm, keys, now, newId }: Deps) =>
  operation({
    name: 'kms.key.generate',
    summary: 'Makes a key in the HSM that belongs to the caller.',
    effect: 'durable',
    route: { method: 'POST', path: '/v1/kms/keys', status: 201 },
    input: z.strictObject({
      label: z
        .string()
        .regex(/^[a-z0-9][a-z0-9._-]{0,63}$/, '1 to 64 of a-z, 0-9, dot, dash, underscore, beginning with a letter or digit')
        .meta({ description: 'Unique among your keys', example: 'meter-readings' }),
      algorithm: z
        .enum(CALLER_ALGORITHMS)
        .meta({ description: 'ec-p256: ECDSA P-256 over SHA-256. hmac-sha256: a 256-bit key. aes-gcm-256: AES-256-GCM, for up to 2^32 messages.' }),
    }),
    output: keyView,
    locate: ({ label, algorithm }, caller): Promise<KeyRecord> =>
      Promise.resolve({ id: keyId(newId()), version: 1, keyVersion: 1, owner: callerUrn(caller), label, algorithm, state: 'reserved', createdAt: now() }),
    uses: ({ id }) => [{ action: 'generate', keyId: id }],
    facts: (reserved) => {
      const { state: _, ...facts } = keyFacts(reserved.id, reserved)
      return { public: facts }
    },
    reserve: async (tx, reserved) => (await keys.reserveKey(tx, reserved)).map(digestRow),
    execute: (permit, { id, algorithm }) => hsm.generate(permit, id, algorithm),
    record: async (tx, reserved, made) => ({ facts: { rows: [digestRow(await keys.replaceKey(tx, activated(reserved, made)))] } }),
    recordFailure: async (tx, reserved) => [digestRow(await keys.replaceKey(tx, { ...reserved, version: 2, state: 'destroyed' }))],
    respond: (reserved, made) => viewKey(activated(reserved, made)),
  })

const activated = (reserved: KeyRecord, { wrapped, publicKey, kcv }: GeneratedKey): KeyRecord => ({
  ...reserved,
  version: 2,
  state: 'active',
  wrapped,
  ...(publicKey === undefined ? {} : { publicKey }),
  ...(kcv === undefined ? {} : { kcv }),
})
