import { inject } from 'vitest'
import { databaseOf, type TestDatabase } from './test-run.ts'

export type { TestDatabase } from './test-run.ts'

/** A database for one test file or test: see {@link databaseOf}. */
export const testDatabase = (options?: Parameters<typeof databaseOf>[1]): Promise<TestDatabase> =>
  databaseOf({ server: inject('testServer'), run: inject('testRun') }, options)
