import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { inspect } from 'node:util'
import { afterAll, afterEach, describe, expect, it } from 'vitest'
import { entryUrl } from './child.ts'
import { openHsm } from './index.ts'
import { tokenOfUri } from './named-token.ts'
import { openLanes } from './open.ts'
import { Pin } from './pin.ts'
import { findSoftHsm, TokenFolder } from './token-folder.ts'

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

describe('a PIN in a variable', () => {
  const NAME = 'GRIDSEAL_TEST_PIN'
  const uri = `pkcs11:token=a?module-path=/m.so&pin-source=env:${NAME}`
  afterEach(() => void delete process.env[NAME])

  it('is read by a login', () => {
    process.env[NAME] = 's3cr3t'
    expect(new Pin(`env:${NAME}`).read()).toBe('s3cr3t')
    delete process.env[NAME]
    expect(() => new Pin(`env:${NAME}`).read()).toThrow(NAME)
  })

  it('is taken out of the environment: children of pkcs11/ get it, no other does, and no setting or message has it', () => {
    process.env[NAME] = 's3cr3t'
    const { token, environment } = tokenOfUri(uri, { passEnvironment: ['PATH'] })
    expect(process.env[NAME]).toBeUndefined()
    expect(execFileSync('env').toString()).not.toContain('s3cr3t')
    expect(environment.set).toEqual({ [NAME]: 's3cr3t' })
    expect(inspect(token, { showHidden: true, depth: 9 })).not.toContain('s3cr3t')
  })

  it('serves a service: its lanes log in by it, and again when they are started again', async () => {
    const data = join(folder, 'data')
    const first = await openHsm({ dataFolder: data, lanes: 1 })
    await first.close()
    const files = new TokenFolder(data)
    process.env['SOFTHSM2_CONF'] = files.configuration
    process.env[NAME] = new Pin(files.pinFile).read()
    const named = `pkcs11:serial=${first.identity.serial}?module-path=${findSoftHsm()}&pin-source=env:${NAME}`
    const { open, lanes } = await openLanes({ dataFolder: data, uri: named, lanes: 1 }, entryUrl('lane-process'))
    try {
      expect(process.env[NAME]).toBeUndefined()
      expect(open.identity).toEqual(first.identity)
      process.kill(lanes.all[0]?.pid as number, 'SIGKILL')
      await expect.poll(() => open.stats().lanes, { timeout: 10_000 }).toMatchObject({ ready: 1, restarts: 1 })
      expect(await open.integrity.macGroup(Buffer.from('group'))).toHaveLength(16)
    } finally {
      await open.close()
    }
  })

  it('that is not set is told by its name', () => {
    expect(() => tokenOfUri(uri, {})).toThrow(NAME)
    expect(() => tokenOfUri('pkcs11:token=a?module-path=/m.so', {})).toThrow('pin-source')
  })
})
