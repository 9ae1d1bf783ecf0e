import { readFileSync } from 'node:fs'
import { type LogKey, parseWitnessPolicy, quorumHolds, type WitnessPolicy, WitnessPolicyError } from '../policies/audit/index.ts'
import { ConfigError } from './config.ts'

/** Reads the policy of the log's witnesses. Throws a {@link ConfigError} where it is none, is not this log's, or could never hold by the witnesses that have a URL. */
export function loadWitnessPolicy(path: string, key: LogKey): WitnessPolicy {
  const policy = parseFile(path)
  if (policy.logs.length > 0 && !policy.logs.some((log) => log.key.vkey === key.vkey))
    throw new ConfigError(`${path}: it lists logs, and this one is not among them: log ${key.vkey}`)
  for (const { name, url } of policy.witnesses)
    if (url !== undefined && !/^https?:$/.test(new URL(url).protocol))
      throw new ConfigError(`${path}: the URL of the witness ${name} is neither http nor https`)
  if (!quorumHolds(policy, ({ url }) => url !== undefined))
    throw new ConfigError(`${path}: the quorum can never hold: witnesses without a URL are not asked, and the others are too few`)
  return policy
}

function parseFile(path: string): WitnessPolicy {
  try {
    return parseWitnessPolicy(readFileSync(path))
  } catch (error) {
    if (error instanceof WitnessPolicyError) throw new ConfigError(`${path}: ${error.message}`)
    throw new ConfigError(`GRIDSEAL_WITNESS_POLICY: ${path} cannot be read (${String((error as NodeJS.ErrnoException).code)})`)
  }
}
