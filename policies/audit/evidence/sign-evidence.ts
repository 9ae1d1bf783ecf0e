import { z } from 'zod'
import { operation } from '../../operation.ts'
import type { EvidenceDeps } from './deps.ts'
import { type EvidencePack, contentOf } from './pack.ts'

/**
 * Signs which pack was made. The service's own: who audits uses no key, whatever the policy says, so that it is `system:evidence` who asks for this, of packs that it made
 * itself. Facts name who wanted it, and the pack.
 */
export const signEvidence = ({ signer }: Pick<EvidenceDeps, 'signer'>) =>
  operation({
    name: 'policies.audit.sign-evidence',
    summary: 'Signs an evidence pack.',
    effect: 'transient',
    input: z.strictObject({ pack: z.custom<EvidencePack>() }),
    output: z.strictObject({ signed: z.string() }),
    locate: ({ pack }) => Promise.resolve({ content: contentOf(pack), requestedBy: pack.requestedBy }),
    uses: () => [{ action: 'sign', keyId: signer.keyId }],
    facts: ({ content: { entries, packSha256 }, requestedBy }) => ({ public: { entries, packSha256, requestedBy } }),
    execute: async (permit, { content }) => ({ signed: await signer.sign(permit, content) }),
    respond: (_target, signed) => signed,
  })
