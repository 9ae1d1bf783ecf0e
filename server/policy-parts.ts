import { createPublicKey, type KeyObject } from 'node:crypto'
import { utf8 } from '../core/bytes.ts'
import { Problem } from '../core/problem.ts'
import { documentToSign, signedDocument } from '../core/signed-document.ts'
import { type Hsm, ROOT_KEYS } from '../pkcs11/index.ts'
import { EVIDENCE_TYPE, type EvidenceSigner } from '../policies/audit/evidence/index.ts'
import type { Caller } from '../policies/caller.ts'
import type { Registration } from '../policies/callers/index.ts'
import type { PolicySigner } from '../policies/revisions/index.ts'

/** What policies/ needs of the features above it. */

export const policySigner = (hsm: Hsm): PolicySigner => ({
  keyId: ROOT_KEYS.policy,
  sign: async (permit, message) => {
    const [signature] = await hsm.signWithRoot(permit, ROOT_KEYS.policy, [message])
    if (signature === undefined) throw new Problem('hsm-failed', 'The HSM gave no signature for a policy.')
    return signature
  },
})

export const policyKey = (hsm: Hsm): KeyObject => createPublicKey({ key: Buffer.from(hsm.rootPublicKey(ROOT_KEYS.policy)), format: 'der', type: 'spki' })

/** The statement key, for evidence packs: its documents have a type of their own. `chain`: of its certificate, DER. */
export const evidenceSigner = (hsm: Hsm, chain: () => Promise<readonly Uint8Array[]>): EvidenceSigner => ({
  keyId: ROOT_KEYS.statement,
  sign: async (permit, content) => {
    const input = documentToSign(EVIDENCE_TYPE, content, await chain())
    const [signature] = await hsm.signWithRoot(permit, ROOT_KEYS.statement, [utf8(input)])
    if (signature === undefined) throw new Problem('hsm-failed', 'The HSM gave no signature for an evidence pack.')
    return signedDocument(input, signature)
  },
})

interface OfficerParts {
  /** Registrations, in an order of their own, after an id. */
  readonly list: (page: { readonly after?: string; readonly limit: number }) => Promise<readonly Registration[]>
  readonly findActive: (callerId: string) => Promise<Pick<Caller, 'kind' | 'name' | 'id' | 'person'> | undefined>
}

/** Active officers, each as if they came from where the caller does, by a certificate. */
export const officersLike =
  ({ list, findActive }: OfficerParts) =>
  async ({ address, listener }: Caller): Promise<readonly Caller[]> => {
    const officers: Caller[] = []
    for (let after: string | undefined; ; ) {
      const page = await list({ limit: 500, ...(after === undefined ? {} : { after }) })
      for (const { id, kind } of page) {
        const active = kind === 'officer' ? await findActive(id) : undefined
        if (active !== undefined)
          officers.push({ ...active, strength: 'certificate', ...(address === undefined ? {} : { address }), ...(listener === undefined ? {} : { listener }) })
      }
      after = page.at(-1)?.id
      if (page.length < 500) return officers
    }
  }
