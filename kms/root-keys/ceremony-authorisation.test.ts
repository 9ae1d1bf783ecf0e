import { describe, expect, it } from 'vitest'
import { operationId } from '../../core/ids.ts'
import { authorisationOf, type CeremonyAuthorisation, type Wanted } from './ceremony-authorisation.ts'

const at = (hours: number): Date => new Date(Date.parse('2026-11-26T00:00:00Z') + hours * 3_600_000)
const decision = (id: string, given: Partial<CeremonyAuthorisation> = {}): CeremonyAuthorisation => ({
  ...{ id: operationId(id), ceremony: 'adopt-token', token: 'b', authorisedBy: 'urn:gridseal:officer:alice', authorisedAt: at(0), expiresAt: at(24) },
  ...given,
})
const wanted = (given: Partial<Wanted> = {}): Wanted => ({ ceremony: 'adopt-token', token: 'b', now: at(1), used: new Set(), ...given })

describe('a ceremony is held by a decision', () => {
  it('of the same ceremony, on the same token, that has not expired and that nothing has used up', () => {
    expect(authorisationOf([decision('one')], wanted())?.id).toBe('one')
  })

  it.each<readonly [claim: string, want: Partial<Wanted>]>([
    ['on another ceremony', { ceremony: 'replace-checkpoint-key' }],
    ['on another token', { token: 'c' }],
    ['on pruning the log, before whatever entry', { ceremony: 'prune-log', before: 256 }],
    ['that expires just now', { now: at(24) }],
    ['that an adoption names', { used: new Set(['one']) }],
  ])('not by one %s', (_claim, want) => {
    expect(authorisationOf([decision('one')], wanted(want))).toBeUndefined()
  })

  it('on pruning before the entry that it names, and no other', () => {
    const prune = decision('one', { ceremony: 'prune-log', before: 512 })
    expect(authorisationOf([prune], wanted({ ceremony: 'prune-log', before: 512 }))?.id).toBe('one')
    for (const before of [256, 768]) expect(authorisationOf([prune], wanted({ ceremony: 'prune-log', before }))).toBeUndefined()
    expect(authorisationOf([prune], wanted({ ceremony: 'prune-log' }))).toBeUndefined()
  })

  it('by the one that lasts longest, so that a used one does not hide another', () => {
    const both = [decision('short'), decision('long', { expiresAt: at(48) })]
    expect(authorisationOf(both, wanted())?.id).toBe('long')
    expect(authorisationOf(both, wanted({ used: new Set(['long']) }))?.id).toBe('short')
  })
})
