import { z } from 'zod'
import { keyId, type KeyId, newUuid } from '../../core/ids.ts'
import { Problem } from '../../core/problem.ts'
import { digestRow } from '../../core/row.ts'
import { type Operation, operation } from '../../policies/operation.ts'
import { type Decoy, decoyRow } from '../decoy-store.ts'
import type { Deps } from './deps.ts'

interface Target {
  readonly exists: boolean
  readonly decoyId: KeyId
}

/** A crash before the outcome leaves a key that no row names; the next start makes another. */
export const establishDecoy = ({ hsm, decoys }: Pick<Deps, 'hsm' | 'decoys'>): Operation<object, Target, Decoy, { keyId: string }> =>
  operation({
    name: 'attestation.decoy.establish',
    summary: 'Makes the key that unknown cards are handled with. Once.',
    effect: 'durable',
    input: z.strictObject({}),
    output: z.strictObject({ keyId: z.string() }),
    locate: async () => ({ exists: (await decoys.find()) !== undefined, decoyId: keyId(`decoy:${newUuid()}`) }),
    uses: ({ decoyId }) => [{ action: 'generate', keyId: decoyId }],
    facts: ({ decoyId }) => ({ public: { key: decoyId } }),
    admit: ({ exists }) => (exists ? new Problem('conflict', 'The decoy stands already.') : undefined),
    execute: async (permit, { decoyId }) => ({ id: decoyId, wrapped: (await hsm.generate(permit, decoyId, 'aes-128')).wrapped, version: 1 }),
    record: async (tx, _target, decoy) => {
      await decoys.insert(tx, decoy)
      return { facts: { rows: [digestRow(decoyRow(decoy))] } }
    },
    respond: (_target, { id }) => ({ keyId: id }),
  })
