import { compileRules, type Decide } from './compile.ts'
import { parsePolicy, type Policy } from './parse.ts'
import { PolicyError } from './policy-error.ts'
import { runTests } from './policy-tests.ts'
import type { OperationFacts } from './references.ts'
import { type ResolvedPolicy, resolvePolicy } from './resolve.ts'

export interface LoadedPolicy {
  readonly policy: Policy
  readonly resolved: ResolvedPolicy
  readonly decide: Decide
}

/** Reads a policy and compiles it, without its tests. Throws a {@link PolicyError}. */
export function compilePolicyText(text: string, operations: readonly OperationFacts[]): LoadedPolicy {
  const policy = parsePolicy(text, operations)
  const resolved = resolvePolicy(policy, operations)
  return { policy, resolved, decide: compileRules(resolved) }
}

/**
 * Reads a policy that was right for another version of the service, whose operations were others: what it names and is not there matches nothing.
 * Throws a {@link PolicyError} where anything else is wrong with it.
 */
export function compileOldPolicyText(text: string, operations: readonly OperationFacts[]): LoadedPolicy {
  const policy = parsePolicy(text)
  const resolved = resolvePolicy(policy, operations, { isOld: true })
  return { policy, resolved, decide: compileRules(resolved) }
}

/**
 * Reads a policy, compiles it and puts its own tests to it. Throws a {@link PolicyError}: what is wrong with the text, or which of its tests fail and why.
 * `now`: the time of tests that name none, in milliseconds.
 */
export function loadPolicy(text: string, { operations, now }: { readonly operations: readonly OperationFacts[]; readonly now: number }): LoadedPolicy {
  const loaded = compilePolicyText(text, operations)
  const failed = runTests(loaded.policy, { ...loaded, now })
  if (failed.length > 0) throw new PolicyError(failed)
  return loaded
}
