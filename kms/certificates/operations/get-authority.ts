import { z } from 'zod'
import { Problem } from '../../../core/problem.ts'
import { operation } from '../../../policies/operation.ts'
import { chainPem, loadChain } from '../authorities.ts'
import { AUTHORITY_NAMES } from '../profile.ts'
import { certificateView, viewCertificate } from '../view.ts'
import type { CertificateDeps } from './deps.ts'

export const getAuthorityOperation = ({ certificates, sealer }: Pick<CertificateDeps, 'certificates' | 'sealer'>) =>
  operation({
    name: 'kms.authority.get',
    summary: "Tells an authority's certificate, with those above it.",
    effect: 'transient',
    route: { method: 'GET', path: '/v1/kms/authorities/{name}' },
    input: z.strictObject({ name: z.enum(AUTHORITY_NAMES) }),
    output: certificateView.extend({ chain: z.string().meta({ description: 'The certificate and those above it up to the root, PEM' }) }),
    locate: ({ name }) => Promise.resolve({ name }),
    uses: () => [],
    facts: ({ name }) => ({ public: { authority: name } }),
    execute: async (_permit, { name }) => {
      const chain = await loadChain(name, { certificates, sealer })
      const [own] = chain
      if (own === undefined) throw new Problem('not-found', 'This authority is not established yet.')
      return { record: own.record, chain }
    },
    respond: (_target, { record, chain }) => ({ ...viewCertificate(record), chain: chainPem(chain) }),
  })
