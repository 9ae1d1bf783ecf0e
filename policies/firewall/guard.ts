import { ADMITTED_KINDS, CALLER_KINDS, type Caller, type CallerKind, callerUrn } from '../caller.ts'
import type { OperationFacts } from './references.ts'

/** What auditors may do about what they asked for themselves and is held: the key is that of their own parked input. Of what others asked for these operations tell them nothing. */
const OWN_HOLDS: ReadonlySet<string> = new Set(['policies.hold.get', 'policies.hold.run', 'policies.hold.withdraw'])

/** A rule that stands before every policy, in every revision, and that no policy can lift. All of them deny. */
interface Guard {
  readonly name: string
  /** The operations it is laid before. */
  readonly concerns: (op: OperationFacts) => boolean
  readonly roles: readonly CallerKind[]
  /** Only what would use a key. */
  readonly usesKey?: true
  /** Only callers that are not admitted at the time. */
  readonly notAdmitted?: true
  readonly reason: string
}

export const GUARD: readonly Guard[] = [
  { name: 'service-only', concerns: (op) => !op.isRouted, roles: CALLER_KINDS, reason: 'Operations without a route are the service’s own.' },
  {
    ...{ name: 'not-admitted', concerns: () => true, roles: ADMITTED_KINDS, notAdmitted: true },
    reason: 'Vendors and modules are admitted: filed with their documents, and assessed.',
  },
  {
    name: 'auditors-change-nothing',
    concerns: (op) => op.effect === 'durable' && !OWN_HOLDS.has(op.name),
    roles: ['auditor'],
    reason: 'Who audits changes nothing.',
  },
  { name: 'auditors-use-no-key', concerns: (op) => !OWN_HOLDS.has(op.name), roles: ['auditor'], usesKey: true, reason: 'Who audits uses no key.' },
]

/** What a caller is told that is stopped for want of an admission: what is missing, and whom to ask. */
export function notAdmittedReason(caller: Caller): string {
  const { admittedUntil } = caller
  const urn = callerUrn(caller)
  if (admittedUntil === undefined || !(admittedUntil > 0))
    return `${urn} is not admitted: its admission was never filed, or is suspended. Ask an officer: gridseal admission show --caller ${caller.kind}:${caller.name} says which, gridseal admission file or resume admits it (guard:not-admitted).`
  return `${urn} is not admitted any more: its security assessment ended at ${new Date(admittedUntil).toISOString()}. Ask an officer to enter the next one: gridseal admission change --caller ${caller.kind}:${caller.name} --assessment ... (guard:not-admitted).`
}
