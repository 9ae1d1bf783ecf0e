import { CALLER_KINDS, type CallerKind } from '../caller.ts'
import type { OperationFacts } from './references.ts'

/** A rule that stands before every policy, in every revision, and that no policy can lift. All of them deny. */
interface Guard {
  readonly name: string
  /** The operations it is laid before. */
  readonly concerns: (op: OperationFacts) => boolean
  readonly roles: readonly CallerKind[]
  /** Only what would use a key. */
  readonly usesKey?: true
  readonly reason: string
}

export const GUARD: readonly Guard[] = [
  { name: 'service-only', concerns: (op) => !op.isRouted, roles: CALLER_KINDS, reason: 'Operations without a route are the service’s own.' },
  { name: 'auditors-change-nothing', concerns: (op) => op.effect === 'durable', roles: ['auditor'], reason: 'Who audits changes nothing.' },
  { name: 'auditors-use-no-key', concerns: () => true, roles: ['auditor'], usesKey: true, reason: 'Who audits uses no key.' },
]
