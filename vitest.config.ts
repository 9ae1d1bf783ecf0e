import { defineConfig } from 'vitest/config'
import { BaseSequencer, type TestSpecification } from 'vitest/node'

/** Of another server than the embedded one these say nothing new: its launcher, and what crashes and restarts the service’s own parts for minutes. */
const embeddedTests = process.env['GRIDSEAL_TEST_DATABASE_URL']
  ? [
      'server/postgres/launcher.pg.test.ts',
      'server/rotation*.pg.test.ts',
      'clients/vendor-delivery.pg.test.ts',
      'server/tampering.pg.test.ts',
      'policies/audit/leaders.pg.test.ts',
    ]
  : []

/** They take minutes: one that began last would leave the other worker idle for as long. In their order, so that one that works hard runs beside ones that mostly wait. */
const LONG = [
  ...['server/crash.e2e.test.ts', 'server/restore.e2e.test.ts', 'server/rotation.e2e.test.ts', 'server/alarms.e2e.test.ts', 'server/acknowledged.e2e.test.ts'],
  ...['server/rotation-crash.pg.test.ts', 'clients/vendor-delivery.pg.test.ts', 'pkcs11/faults.hsm.test.ts'],
]

class LongFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const others = await super.sort(files)
    const long = LONG.flatMap((name) => others.filter(({ moduleId }) => moduleId.endsWith(`/${name}`)))
    return [...new Set([...long, ...others])]
  }
}

const POSTGRES = 'server/postgres/test-server.ts'
const skipped = ['**/node_modules/**', '**/dist/**', '**/data/**']

/** Projects run one after another: a fault in pure code shows before a token or a database is started. */
const project = (
  name: string,
  order: number,
  options: { readonly pattern: string; readonly not?: readonly string[]; readonly timeoutMs: number; readonly workers: number },
) => ({
  test: {
    name,
    include: [options.pattern],
    exclude: [...skipped, ...(options.not ?? [])],
    pool: 'forks' as const,
    maxWorkers: options.workers,
    fileParallelism: options.workers > 1,
    testTimeout: options.timeoutMs,
    hookTimeout: 2 * options.timeoutMs,
    sequence: { groupOrder: order },
  },
})

const withSetup = <Project extends { readonly test: object }>(settings: Project, ...globalSetup: readonly string[]) => ({
  ...settings,
  test: { ...settings.test, globalSetup: [...globalSetup] },
})

export default defineConfig({
  test: {
    sequence: { sequencer: LongFirst },
    projects: [
      project('unit', 0, { pattern: '**/*.test.ts', not: ['**/*.hsm.test.ts', '**/*.pg.test.ts', '**/*.e2e.test.ts'], timeoutMs: 10_000, workers: 2 }),
      project('hsm', 1, { pattern: '**/*.hsm.test.ts', timeoutMs: 30_000, workers: 2 }),
      withSetup(project('pg', 2, { pattern: '**/*.pg.test.ts', not: embeddedTests, timeoutMs: 30_000, workers: 2 }), POSTGRES),
      withSetup(project('e2e', 3, { pattern: '**/*.e2e.test.ts', timeoutMs: 120_000, workers: 2 }), POSTGRES, 'server/testing/program.ts'),
    ],
  },
})
