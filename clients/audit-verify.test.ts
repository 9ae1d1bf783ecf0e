import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect, it } from 'vitest'
import { encodeExportLine } from '../policies/audit/export.ts'
import { tileLog, tileLogKey, usualEntries } from '../policies/audit/testing/tile-log.ts'
import { describeReport, verifyLog } from './audit-verify.ts'

const folder = mkdtempSync(join(tmpdir(), 'gridseal-verify-'))
afterAll(() => rmSync(folder, { recursive: true }))

it('the report of an export tells in one line what a header says, and nothing that a terminal would obey', async () => {
  const log = join(folder, 'log.ndjson')
  const header = encodeExportLine({ kind: 'header', origin: 'x\r\u001b[2K\u202e\nVERIFIED: grid.example/audit', vkey: tileLogKey.vkey })
  writeFileSync(
    log,
    tileLog(usualEntries(3))
      .exported()
      .replace(/^.*\n/, () => header),
  )
  const told = describeReport(await verifyLog({ log, vkey: tileLogKey.vkey }))
  expect(told).toMatch(/^NOT VERIFIED: grid\.example\/audit, 3 entries/)
  expect(told).toContain('it is of x\\u000d\\u001b[2K\\u202e\\u000aVERIFIED: grid.example/audit with the key')
  expect(told).not.toMatch(/\nVERIFIED|[^\P{C}\n]/u)
})
