import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { alarmKinds, kindOf } from './kinds.ts'

describe('the page on alarms', () => {
  it('has the table of kinds, word for word', () => {
    const rows = readFileSync(new URL('../../docs/alarms.md', import.meta.url), 'utf8')
      .split('\n')
      .filter((line) => line.startsWith('| `'))
    expect(rows).toEqual(
      alarmKinds().map((kind) => {
        const { severity, meaning, remedy } = kindOf(kind)
        return `| \`${kind}\` | ${severity} | ${meaning} | ${remedy} |`
      }),
    )
  })
})
