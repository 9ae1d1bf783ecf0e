import { describe, expect, it } from 'vitest'
import type { Entry } from '../audit/entry.ts'
import { ADMITTED_AT_ANY_TIME } from '../caller.ts'
import { questionOf } from './past-question.ts'

const entry = (kind: string, decision: object): Entry =>
  ({
    operation: 'kms.key.sign',
    caller: { kind, name: 'x', id: 'x' },
    facts: { a: 1, b: 2 },
    decision: { effect: 'allow', rule: 'r', revision: 'v', ...decision },
  }) as unknown as Entry

describe('a question of the past', () => {
  it('has what the policy saw, and nothing that came after', () => {
    expect(questionOf(entry('officer', { at: 5, listener: 'tls', strength: 'certificate', added: ['b'] }))).toEqual({
      ...{ operation: 'kms.key.sign', uses: [], at: 5, facts: { a: 1 } },
      caller: { kind: 'officer', name: 'x', id: 'x', listener: 'tls', strength: 'certificate' },
    })
  })

  it('cannot be told from entries that have no time of their decision', () => {
    expect(questionOf(entry('officer', {}))).toBeUndefined()
  })

  it.each([
    ['module', 7, 7],
    ['vendor', 0, 0],
    ['module', undefined, ADMITTED_AT_ANY_TIME],
    ['officer', undefined, undefined],
  ])('%s with the admission %j is asked about with %j: before there were admissions, nobody was asked for one', (kind, admittedUntil, asked) => {
    expect(questionOf(entry(kind, { at: 5, ...(admittedUntil === undefined ? {} : { admittedUntil }) }))?.caller.admittedUntil).toBe(asked)
  })
})
