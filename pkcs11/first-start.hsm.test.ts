import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { openHsm, type OpenHsm, type TokenIdentity } from './index.ts'
import { findSoftHsm } from './token-folder.ts'

let folder: string
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'gridseal-first-'))
})
afterEach(() => rmSync(folder, { recursive: true, force: true }))

const withHsm = async <Result>(work: (open: OpenHsm) => Promise<Result> | Result, options = {}): Promise<Result> => {
  const open = await openHsm({ dataFolder: folder, lanes: 1, ...options })
  try {
    return await work(open)
  } finally {
    await open.close()
  }
}
const identity = (options = {}): Promise<TokenIdentity> => withHsm((open) => open.identity, options)
const mode = (...path: string[]): string => (statSync(join(folder, ...path)).mode & 0o777).toString(8)

describe('the first start', () => {
  it('makes token, PINs and root keys; the second start finds them', async () => {
    const first = await identity()
    expect(first.keys.map(({ keyId }) => keyId)).toEqual([
      'root:blind-index',
      'root:ca-callers',
      'root:ca-cards',
      'root:ca-root',
      'root:checkpoint',
      'root:delivery',
      'root:group-mac',
      'root:pepper',
      'root:policy',
      'root:result',
      'root:row-mac',
      'root:statement',
      'root:storage-kek',
    ])
    expect(await identity()).toEqual(first)
    expect([mode('pins'), mode('pins', 'user.pin'), mode('pins', 'officer.pin'), mode('token', 'tokens')]).toEqual(['700', '600', '600', '700'])
    const pins = ['user.pin', 'officer.pin'].map((name) => readFileSync(join(folder, 'pins', name), 'utf8').trim())
    expect(pins.every((pin) => pin.length >= 32)).toBe(true)
    expect(pins[0]).not.toBe(pins[1])
  })

  it('a crash while it was initialising is started over: nothing of it was told to anyone', async () => {
    mkdirSync(join(folder, 'token', 'tokens', 'half'), { recursive: true })
    mkdirSync(join(folder, 'pins'))
    writeFileSync(join(folder, 'pins', 'user.pin'), 'half')
    writeFileSync(join(folder, 'token.json'), '{"state":"initialising"}\n')
    await identity()
    expect(readdirSync(join(folder, 'token', 'tokens'))).toHaveLength(1)
    expect(readFileSync(join(folder, 'token.json'), 'utf8')).toContain('"ready"')
  })

  it('kill -9 at any moment of it: the next start finds a token or makes one', async () => {
    const tsx = pathToFileURL(createRequire(import.meta.url).resolve('tsx')).href
    const program = fileURLToPath(new URL('./testing/first-start-process.ts', import.meta.url))
    for (const afterMs of [350, 500, 650, 800]) {
      const child = spawn(process.execPath, ['--import', tsx, program, folder], { stdio: 'ignore' })
      await wait(afterMs)
      child.kill('SIGKILL')
      await once(child, 'exit')
    }
    await wait(500) // a ceremony that was under way has seen by now that nobody waits for it
    const first = await identity()
    expect(readdirSync(join(folder, 'token', 'tokens'))).toHaveLength(1)
    expect(await identity()).toEqual(first)
  })

  it('the data folder may move', async () => {
    const first = await identity()
    const moved = `${folder}-moved`
    renameSync(folder, moved)
    folder = moved
    expect(await identity()).toEqual(first)
  })
})

describe('refuses to start, and makes no token', () => {
  const refused = (detail: string): object => ({ code: 'hsm-unavailable', detail: expect.stringContaining(detail) as string })

  it('when the token is gone', async () => {
    await identity()
    renameSync(join(folder, 'token'), join(folder, 'elsewhere'))
    await expect(identity()).rejects.toMatchObject(refused('is not in the data folder any more'))
    expect(existsSync(join(folder, 'token'))).toBe(false)
  })

  it('when there is a token that nothing tells of, or a damaged state file', async () => {
    await identity()
    rmSync(join(folder, 'token.json'))
    await expect(identity()).rejects.toMatchObject(refused('no token.json'))
    writeFileSync(join(folder, 'token.json'), '{"state":')
    await expect(identity()).rejects.toMatchObject(refused('damaged'))
  })

  it('when another token lies in its place, and when a PIN is wrong', async () => {
    await identity()
    const state = readFileSync(join(folder, 'token.json'), 'utf8')
    writeFileSync(join(folder, 'token.json'), '{"state":"ready","serial":"0123456789abcdef"}')
    await expect(identity()).rejects.toMatchObject(refused('the token is not there'))
    writeFileSync(join(folder, 'token.json'), state)
    writeFileSync(join(folder, 'pins', 'user.pin'), 'wrong-pin')
    await expect(identity()).rejects.toMatchObject(refused('CKR_PIN_INCORRECT'))
  })
})

describe('a token chosen by URI', () => {
  it('is used as it is; without root keys they are made only with the officer’s PIN', async () => {
    const first = await identity()
    const uri = `pkcs11:token=gridseal;serial=${first.serial}?module-path=${findSoftHsm()}&pin-source=file:${folder}/pins/user.pin`
    process.env['SOFTHSM2_CONF'] = join(folder, 'token', 'softhsm2.conf')
    expect(await identity({ uri })).toEqual(first)
    await expect(identity({ uri: uri.replace(first.serial, 'another') })).rejects.toMatchObject({ code: 'hsm-unavailable' })
  })
})
