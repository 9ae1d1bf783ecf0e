import { expect, it } from 'vitest'
import { operationFacts } from './policy-file.ts'
import { allOperations } from './testing/all-operations.ts'

/** The whole file, so that `vitest -u` writes it anew. */
const FILE = (lines: readonly string[]): string => `import type { OperationFacts } from '../policies/firewall/index.ts'

/**
 * All operations, as policies see them: what checks a policy without a token and a database goes by.
 * The operations themselves are what counts: a test compares, and \`npx vitest run -u server/operation-list\` writes this file anew.
 */
export const OPERATION_LIST: readonly OperationFacts[] = [
${lines.join('\n')}
]
`

it('lists the operations that there are', async () => {
  const real = operationFacts(allOperations()).sort((a, b) => (a.name < b.name ? -1 : 1))
  expect(new Set(real.map(({ name }) => name)).size).toBe(real.length)
  const lines = real.map(({ name, effect, isRouted }) => `  { name: '${name}', effect: '${effect}', isRouted: ${String(isRouted)} },`)
  await expect(FILE(lines)).toMatchFileSnapshot('./operation-list.ts')
})
