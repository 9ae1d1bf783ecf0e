import type { Entry } from '../audit/entry.ts'
import { ADMITTED_AT_ANY_TIME, needsAdmission } from '../caller.ts'
import type { Asked } from '../firewall/index.ts'

/** What was put to the policy, from the first entry of the operation that tells its decision. Undefined where that does not say enough: entries before the first revision. */
export function questionOf({ operation, caller, uses, facts, decision }: Entry): Asked | undefined {
  if (decision?.at === undefined) return undefined
  const added = new Set(decision.added)
  return {
    ...{ operation, uses: uses ?? [], at: decision.at, facts: Object.fromEntries(Object.entries(facts ?? {}).filter(([name]) => !added.has(name))) },
    caller: {
      ...caller,
      ...(decision.listener === undefined ? {} : { listener: decision.listener }),
      ...(decision.strength === undefined ? {} : { strength: decision.strength }),
      // Before there were admissions nobody was asked for one.
      ...(needsAdmission(caller.kind) ? { admittedUntil: decision.admittedUntil ?? ADMITTED_AT_ANY_TIME } : {}),
    },
  }
}
