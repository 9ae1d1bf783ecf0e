import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { inspect } from 'node:util'
import { afterAll, expect, it } from 'vitest'
import { Pin } from './pin.ts'

const folder = mkdtempSync(join(tmpdir(), 'gridseal-pin-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

it('a PIN shows itself to a login and to nothing else', () => {
  const file = join(folder, 'pin')
  const pin = new Pin(file)
  writeFileSync(file, 's3cr3t\n')
  expect(pin.read()).toBe('s3cr3t')
  for (const shown of [String(pin), JSON.stringify({ pin }), inspect({ pin }), inspect(pin, { showHidden: true, depth: 9 })]) {
    expect(shown).toContain('[pin]')
    expect(shown).not.toContain('s3cr3t')
  }
  expect(Object.values(pin)).toEqual([])
  writeFileSync(file, 'changed')
  expect(pin.read()).toBe('changed')
})
