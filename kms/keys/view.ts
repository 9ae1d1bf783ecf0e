import { createPublicKey } from 'node:crypto'
import { z } from 'zod'
import { hex } from '../../core/bytes.ts'
import { CALLER_ALGORITHMS, type KeyRecord } from './key.ts'
import { KEY_STATES } from './state.ts'

/** A key as callers see it. */
export const keyView = z.object({
  keyId: z.string(),
  keyVersion: z.int().min(1).max(1_000_000),
  label: z.string(),
  algorithm: z.enum(CALLER_ALGORITHMS),
  owner: z.string().meta({ description: 'URN of the caller that made the key', example: 'urn:gridseal:module:billing' }),
  state: z.enum(KEY_STATES).meta({ description: 'NIST SP 800-57 part 1, clause 7' }),
  publicKey: z.string().optional().meta({ description: 'SPKI, PEM; of a key pair' }),
  kcv: z
    .object({ method: z.string().meta({ example: 'hmac-sha256' }), value: z.string().meta({ description: 'Hex' }) })
    .optional()
    .meta({ description: 'Key check value and how it was made; of a secret key' }),
  createdAt: z.string().meta({ description: 'RFC 3339, UTC' }),
})

export function viewKey(key: KeyRecord): z.infer<typeof keyView> {
  return {
    keyId: key.id,
    keyVersion: key.keyVersion,
    label: key.label,
    algorithm: key.algorithm,
    owner: key.owner,
    state: key.state,
    ...(key.publicKey === undefined ? {} : { publicKey: spkiPem(key.publicKey) }),
    ...(key.kcv === undefined ? {} : { kcv: { method: key.kcv.method, value: hex(key.kcv.value) } }),
    createdAt: key.createdAt.toISOString(),
  }
}

const spkiPem = (spki: Uint8Array): string =>
  createPublicKey({ key: Buffer.from(spki), format: 'der', type: 'spki' })
    .export({ format: 'pem', type: 'spki' })
    .toString()
