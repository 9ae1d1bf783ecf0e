import { readFileSync } from 'node:fs'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { testDatabase } from './postgres/test-database.ts'
import { projectFile } from './project-file.ts'
import { type Expected, fault, readTable } from './testing/detection-table.ts'
import { TamperingSite } from './testing/tampering-site.ts'
import { Random, TAMPERINGS } from './testing/tamperings.ts'

/** What docs/integrity.md says of each tampering. `npm run bench -- tamper` does many more. */
const TABLE: ReadonlyMap<string, Expected> = readTable(readFileSync(projectFile('docs/integrity.md'), 'utf8'))

/** Of those that choose among unlike things a second one. */
const CHOICES = [
  'an entry is changed',
  'the newest entries are kept from being sequenced',
  'a tile is changed',
  'a row is edited',
  'a row is deleted',
  'an old row is put back',
  'a constraint is dropped',
]
const SEEDS = [...Object.keys(TAMPERINGS).map((kind) => [kind, 1] as const), ...CHOICES.flatMap((kind) => [2, 3, 4].map((seed) => [kind, seed] as const))]

let site: TamperingSite
beforeAll(async () => {
  site = await TamperingSite.open(() => testDatabase({ migrated: false }))
}, 120_000)
afterAll(() => site?.close())

describe('the database of a service that nobody tampered with', () => {
  it('is what the log says', async () => {
    const { report, ...found } = await site.detect(() => Promise.resolve())
    expect(report?.findings).toEqual([])
    expect(report?.rows).toBeGreaterThan(60)
    expect(report?.entries).toBeGreaterThan(700)
    expect(found).toEqual({ start: undefined, check: [], verifier: [] })
  })
})

describe('rows of new entries', () => {
  it('that stand as they are named are no findings', async () => {
    expect(await site.follow(() => Promise.resolve())).toEqual([[], []])
  })

  it.each([
    ['a row is edited', 'row-edited'],
    ['a row is deleted', 'row-deleted'],
    ['an old row is put back', 'row-replayed'],
    ['a suspension of an admission is deleted', 'row-deleted'],
    ['keys are exchanged', 'row-edited'],
  ])('are found at the second look: %s', async (kind, code) => {
    const [first, second] = await site.follow(
      (victim) => TAMPERINGS[kind]?.({ ...victim, rollBack: never, rollBackFile: never, rollBackToken: never }, new Random(1)) ?? never(),
    )
    expect(first).toEqual([])
    expect(new Set(second?.map((finding) => finding.code))).toEqual(new Set([code]))
    expect(second?.every(({ since }) => since !== undefined)).toBe(true)
  })
})

const never = (): never => {
  throw new Error('it is not rolled back')
}

describe('what the owner of the database does', () => {
  it('stands in the table of docs/integrity.md, all of it', () => {
    expect([...TABLE.keys()].sort()).toEqual(Object.keys(TAMPERINGS).sort())
  })

  it.each(SEEDS)('is found as the table says: %s (%i)', { timeout: 60_000 }, async (kind, seed) => {
    const found = await site.detect((victim) => TAMPERINGS[kind]?.(victim, new Random(seed)) ?? Promise.reject(new Error(`there is no ${kind}`)))
    const expected = TABLE.get(kind)
    expect(expected && fault(expected, found), JSON.stringify(found.report?.findings.slice(0, 5))).toBeUndefined()
    for (const finding of found.report?.findings ?? []) expect(finding.subject.length * finding.detail.length, finding.code).toBeGreaterThan(0)
  })
})
