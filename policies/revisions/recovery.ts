import { callerUrn } from '../caller.ts'
import { type Asked, compileOldPolicyText, compilePolicyText, type Decide, type OperationFacts, PolicyError } from '../firewall/index.ts'
import { covers } from '../firewall/references.ts'

/** A policy as a node decides by it. */
export interface ReadyPolicy {
  readonly decide: Decide
  /** Set while the policy is not wholly of use to this version of the service: why. */
  readonly recovery?: string
}

/** What decisions name in place of a rule while there is recovery. */
export const RECOVERY_RULE = 'recovery'

/** What it takes to change the policy, and to see what happens. */
const RECOVERY = ['policies.revision.*', 'policies.hold.*', 'policies.decision.*', 'policies.audit.*', 'policies.session.*']
/** It takes no personal values. */
const BEYOND_RECOVERY = 'policies.audit.reveal'
const isRecovery = ({ operation, caller }: Asked): boolean =>
  caller.kind === 'system' || (operation !== BEYOND_RECOVERY && RECOVERY.some((pattern) => covers(pattern, operation)))

const MOST_TOLD = 5

/**
 * The policy, compiled. One that names operations that this version of the service has not is not guessed at: a rule that denied one of them may have been meant for
 * what is called otherwise now. Then everything is denied but what it takes to change it, which the rest of the policy decides: so a newer version starts, and two officers
 * put the policy right. Throws a {@link PolicyError} where anything else is wrong with it.
 */
export function readyPolicy(text: string, operations: readonly OperationFacts[]): ReadyPolicy {
  try {
    return { decide: compilePolicyText(text, operations).decide }
  } catch (error) {
    if (!(error instanceof PolicyError)) throw error
    const { policy, decide } = compileOldPolicyText(text, operations)
    const told = error.faults.slice(0, MOST_TOLD).map(({ line, message }) => (line === undefined ? message : `line ${String(line)}: ${message}`))
    const recovery = `The policy in force names operations that this version of the service has not: ${told.join('; ')}${error.faults.length > MOST_TOLD ? ' ...' : ''}.`
    return {
      recovery,
      decide: (asked) =>
        isRecovery(asked)
          ? decide(asked)
          : {
              ...{ effect: 'deny', rule: RECOVERY_RULE, revision: policy.revision },
              reason: `${callerUrn(asked.caller)} may not ${asked.operation} until officers have put the policy right (gridseal policy propose). ${recovery}`,
            },
    }
  }
}
