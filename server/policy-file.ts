import { existsSync, readFileSync } from 'node:fs'
import { writeDurably } from '../core/durable-file.ts'
import { type Decide, loadPolicy, type OperationFacts, PolicyError } from '../policies/firewall/index.ts'
import type { AnyOperation } from '../policies/operation.ts'
import { revisionOf } from '../policies/revisions/index.ts'
import { ConfigError } from './config.ts'
import { projectFile } from './project-file.ts'

/** What the firewall needs to know of operations. */
export const operationFacts = (operations: readonly AnyOperation[]): OperationFacts[] =>
  operations.map(({ name, effect, route }) => ({ name, effect, isRouted: route !== undefined }))

/**
 * The policy that a service without one begins with. At first start the example policy is written where the settings say.
 * Throws a {@link ConfigError} that names the file, and the place of each fault in it, also of each of its tests that fails.
 */
export function loadPolicyFile(file: string, operations: readonly AnyOperation[]): { readonly decide: Decide; readonly text: string } {
  if (!existsSync(file)) writeDurably(file, readFileSync(projectFile('examples/policy.yaml'), 'utf8'))
  try {
    const text = readFileSync(file, 'utf8')
    return { text, decide: loadPolicy(text, { operations: operationFacts(operations), now: Date.now() }).decide }
  } catch (error) {
    if (error instanceof PolicyError) throw new ConfigError(`${file}: ${error.message}`)
    throw error
  }
}

/** Whether the file, where there is one, has the policy of this revision. */
export const isPolicyOf = (file: string, revision: string): boolean => !existsSync(file) || revisionOf(readFileSync(file, 'utf8')) === revision
