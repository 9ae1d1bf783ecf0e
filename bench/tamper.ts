import { randomBytes, randomInt } from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { found as present } from '../core/found.ts'
import { startEmbeddedPostgres } from '../server/postgres/launcher.ts'
import { databaseOf } from '../server/postgres/test-run.ts'
import { fastFolder } from '../server/postgres/test-server.ts'
import { projectFile } from '../server/project-file.ts'
import { fault, readTable } from '../server/testing/detection-table.ts'
import { TamperingSite } from '../server/testing/tampering-site.ts'
import { Random, TAMPERINGS } from '../server/testing/tamperings.ts'
import type { Options } from './options.ts'
import { type Report, result } from './report.ts'

const TAMPERINGS_IN_ALL = 1_000
const TOLD_EVERY = 25

const pick = <Item>(items: readonly Item[], at: number): Item => present(items[at % items.length])

/** Each kind in turn, each with a seed of its own: a fault names both, so that it comes again. */
export async function benchTamper(say: (line: string) => void, options: Options): Promise<Report> {
  const count = options.count('count') ?? TAMPERINGS_IN_ALL
  const folder = mkdtempSync(join(fastFolder(), 'gridseal-bench-'))
  const table = readTable(readFileSync(projectFile('docs/integrity.md'), 'utf8'))
  const postgres = await startEmbeddedPostgres({ folder: join(folder, 'postgres'), durable: false })
  const place = { server: postgres.url('admin', 'postgres'), run: `gridseal_bench_${randomBytes(4).toString('hex')}` }
  const [seeds, faults, counts] = [randomInt(2 ** 30), [] as string[], new Map<string, { done: number; found: number }>()]
  try {
    say('a service with one of everything')
    const site = await TamperingSite.open(() => databaseOf(place, { migrated: false }))
    try {
      const kinds = Object.entries(TAMPERINGS)
      for (let at = 0; at < count; at += 1) {
        const [kind, tamper] = pick(kinds, at)
        const detected = await site
          .detect((victim) => tamper(victim, new Random(seeds + at)))
          .catch((error: unknown) => {
            throw new Error(`${kind} (seed ${String(seeds + at)})`, { cause: error })
          })
        const expected = table.get(kind)
        const wrong = expected === undefined ? 'it is not in the table' : fault(expected, detected)
        if (wrong !== undefined) faults.push(`${kind} (seed ${String(seeds + at)}): ${wrong}`)
        const before = counts.get(kind) ?? { done: 0, found: 0 }
        const isFound = detected.start !== undefined || detected.check.length > 0 || detected.verifier.length > 0
        counts.set(kind, { done: before.done + 1, found: before.found + (isFound ? 1 : 0) })
        if (at % TOLD_EVERY === 0) say(`${String(at)} of ${String(count)}`)
      }
    } finally {
      await site.close()
    }
  } finally {
    await postgres.stop()
    rmSync(folder, { recursive: true, force: true })
  }
  const notes = [...counts].map(([kind, { done, found }]) => `${kind}: ${String(found)} of ${String(done)} found`)
  return {
    bench: 'tamper',
    results: [
      result({ metric: 'tamperings', value: count, unit: 'done' }),
      result({ metric: 'not as the table says', value: faults.length, unit: 'tamperings', goal: 0, goalIs: 'at-most' }),
    ],
    notes: [...notes, ...faults],
  }
}
