import { existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { type Config, readConfig } from '../config.ts'
import { reindexCommand } from './audit-index.ts'
import { recoverLogCommand } from './audit-recover.ts'
import { checkIntegrityCommand } from './integrity.ts'

describe('a command that looks at a service’s data, in a wrong folder', () => {
  let data: string
  beforeEach(() => {
    data = mkdtempSync(join(tmpdir(), 'gridseal-data-folder-'))
  })
  afterEach(() => rmSync(data, { recursive: true, force: true }))

  it.each([
    ['integrity check', 2, (config: Config) => checkIntegrityCommand(config, { json: false })],
    ['audit reindex', 1, (config: Config) => reindexCommand(config, {})],
    ['audit recover', 1, (config: Config) => recoverLogCommand(config, { checkpoint: [], issued: [] })],
  ])('%s makes no token and no database, and says what to name', async (_name, exitCode, run) => {
    for (const folder of [data, join(data, 'none')]) {
      await expect(run(readConfig({ GRIDSEAL_DATA: folder }))).rejects.toMatchObject({ exitCode, message: expect.stringContaining('GRIDSEAL_DATA') as string })
    }
    expect(readdirSync(data)).toEqual([])
    expect(existsSync(join(data, 'none'))).toBe(false)
  })
})
