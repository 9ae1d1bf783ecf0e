import type { Asked } from './decide.ts'

/** A rule that stands before every policy, in every revision, and that no policy can lift. All of them deny. */
interface Guard {
  readonly name: string
  /** The operations it is laid before. */
  readonly concerns: (op: { readonly name: string; readonly effect: 'durable' | 'transient'; readonly isRouted: boolean }) => boolean
  readonly matches: (asked: Asked) => boolean
}

export const GUARD: readonly Guard[] = [
  { name: 'service-only', concerns: (op) => !op.isRouted, matches: ({ caller }) => caller.kind !== 'system' },
  { name: 'auditors-change-nothing', concerns: (op) => op.effect === 'durable', matches: ({ caller }) => caller.kind === 'auditor' },
  { name: 'auditors-use-no-key', concerns: () => true, matches: ({ caller, uses }) => caller.kind === 'auditor' && uses.length > 0 },
]
