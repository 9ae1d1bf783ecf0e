import { systemCaller } from '../../caller.ts'
import { type Gate, perform } from '../../gate.ts'
import type { AnyOperation } from '../../operation.ts'
import type { EvidenceDeps } from './deps.ts'
import { makeEvidence } from './make-evidence.ts'
import { signEvidence } from './sign-evidence.ts'

export type { EvidenceSigner } from './deps.ts'
export { EVIDENCE_TYPE } from './pack.ts'

/** Evidence packs. What is signed is signed by an operation of its own, through the gate. */
export function evidenceFeature({ gate, ...deps }: EvidenceDeps & { readonly gate: Gate }): { readonly operations: readonly AnyOperation[] } {
  const signing = signEvidence(deps)
  const caller = systemCaller('evidence')
  const making = makeEvidence({
    ...deps,
    sign: async (pack) => ((await perform(gate, signing, { caller, body: { pack } })) as { readonly signed: string }).signed,
  })
  return { operations: [making, signing] }
}
