import { z } from 'zod'
import { Problem } from '../../../core/problem.ts'
import { operation } from '../../operation.ts'
import type { SignedLog } from './export.ts'
import { proofsOf, provableNow, signedOver } from './proof.ts'

/** By index, and without the entry: so what was pruned stays provable, by the hash tiles of the service and the bytes of the archive. */
export const proveEntry = (log: SignedLog) =>
  operation({
    name: 'policies.audit.proof-of-entry',
    summary: 'A proof that the entry at an index is in the log, also where it was pruned: its bytes come from the archive then (docs/log-archive.md).',
    effect: 'transient',
    route: { method: 'GET', path: '/v1/policies/audit/entries/{index}/proof' },
    input: z.strictObject({
      index: z.coerce.number().int().min(0).max(Number.MAX_SAFE_INTEGER).meta({ description: 'Its place in the log, from 0.', example: 17 }),
    }),
    output: z.object({
      index: z.number().int().min(0),
      size: z.number().int().min(0).meta({ description: 'How many entries the checkpoint of the proof is over.' }),
      proof: z.string().meta({ description: 'A file of C2SP tlog-proof v1 for the entry’s exact bytes, with the signed checkpoint in it.' }),
    }),
    locate: async ({ index }) => ({ index, signed: signedOver(await provableNow(log), [{ index }]) }),
    uses: () => [],
    facts: ({ index }) => ({ public: { index } }),
    admit: ({ index, signed }) =>
      index < (signed?.checkpoint.size ?? 0)
        ? undefined
        : new Problem('not-found', 'The last signed checkpoint is not over so many entries. One that was just written is there within a second or so.'),
    execute: async (_permit, { index, signed }) => (signed === undefined ? [] : proofsOf(log.reader, signed, [{ index }])),
    outcomeFacts: ({ signed }) => ({ public: { size: signed?.checkpoint.size ?? 0 } }),
    respond: ({ index, signed }, [proof = '']) => ({ index, size: signed?.checkpoint.size ?? 0, proof }),
  })
