import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { analysePolicy, loadPolicy } from '../policies/firewall/index.ts'
import { OPERATION_LIST } from './operation-list.ts'
import { projectFile } from './project-file.ts'

const NOW = Date.parse('2026-11-26T12:00:00Z')
const page = readFileSync(projectFile('docs/policy.md'), 'utf8')
const blocks = [...page.matchAll(/```yaml\n(.*?)```/gs)].map(([, text = '']) => text)
const isWhole = (block: string): boolean => block.startsWith('policy:')
/** Rules, put into a policy. */
const whole = (block: string): string =>
  isWhole(block)
    ? block
    : `policy: 2\nowner: the page\nzones: { all: { others: true } }\nchains:\n  - name: all\n    zones: [all]\n    rules:\n${block.replaceAll(/^/gm, '      ').trimEnd()}\n`

describe('docs/policy.md', () => {
  it.each(blocks.map((block, at) => [at + 1, block] as const))('example %i is taken', (_at, block) => {
    const { policy } = loadPolicy(whole(block), { operations: OPERATION_LIST, now: NOW })
    expect(policy.document.tests.length).toBe(isWhole(block) ? 2 : 0)
  })

  it('the whole example has no rule of no use, as gridseal policy check tells', () => {
    const { resolved, decide } = loadPolicy(blocks.find(isWhole) ?? '', { operations: OPERATION_LIST, now: NOW })
    expect(analysePolicy(resolved, { decide, at: NOW }).findings).toEqual([])
  })
})
