import { z } from 'zod'
import { operation } from '../../operation.ts'

const OUTPUT = z.strictObject({ began: z.boolean().meta({ description: 'false: this node was at a pass already.' }) }).meta({ id: 'IntegrityCheckBegun' })

/** A pass takes minutes: who asked reads `policies.integrity.get` for how far it is and what it found. */
export const beginCheck = ({ passNow }: { readonly passNow: () => boolean }) =>
  operation({
    name: 'policies.integrity.check',
    summary: 'Begins to compare the whole database with the log now.',
    effect: 'transient',
    route: { method: 'POST', path: '/v1/policies/integrity/check', status: 202 },
    input: z.strictObject({}),
    output: OUTPUT,
    locate: () => Promise.resolve({}),
    uses: () => [],
    facts: () => ({}),
    execute: () => Promise.resolve({ began: passNow() }),
    outcomeFacts: (_target, { began }) => ({ public: { began } }),
    respond: (_target, begun) => begun,
  })
