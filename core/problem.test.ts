import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { PROBLEMS } from './problem.ts'

describe('docs/problems.md', () => {
  it('has every problem with its status, and no other', () => {
    const text = readFileSync(new URL('../docs/problems.md', import.meta.url), 'utf8')
    const rows = [...text.matchAll(/^\| ([a-z-]+) \| (\d{3}) \|/gm)].map(([, code, status]) => [code, Number(status)])
    expect(rows).toEqual(Object.entries(PROBLEMS).map(([code, { status }]) => [code, status]))
  })
})
