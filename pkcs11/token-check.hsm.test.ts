import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { keyId, newUuid } from '../core/ids.ts'
import { withTestPermit } from '../policies/testing/memory-gate.ts'
import { checkToken, type CheckOptions, isFit, openHsm, type TokenReport } from './index.ts'
import { type FaultModule, faultModule } from './testing/fault-module.ts'
import { findSoftHsm, TokenFolder } from './token-folder.ts'
import { columnOf, columnOfReadme } from './testing/token-table.ts'

/** Every object in a folder of tokens. (A login itself writes `token.object`.) */
const objectsOf = (path: string): readonly (readonly [name: string, content: string])[] =>
  readdirSync(path, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && entry.name !== 'token.object')
    .map((entry) => [entry.name, readFileSync(join(entry.parentPath, entry.name), 'hex')] as const)
    .sort(([a], [b]) => (a < b ? -1 : 1))

let folder: string
let files: TokenFolder
let uri: string
const modulePath = findSoftHsm()
const withPin = (source: string): CheckOptions => ({ subject: { uri: `${uri}&pin-source=${source}` } })

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'gridseal-check-'))
  const { identity, close } = await openHsm({ dataFolder: folder, lanes: 1 })
  await close()
  files = new TokenFolder(folder)
  uri = `pkcs11:token=gridseal;serial=${identity.serial}?module-path=${modulePath}`
  process.env['SOFTHSM2_CONF'] = files.configuration
})
afterAll(() => rmSync(folder, { recursive: true, force: true }))

describe('the check of a token', () => {
  it('finds SoftHSM2 fit, as README.md says, and leaves nothing in it', async () => {
    const before = objectsOf(files.tokensFolder)
    const report = await checkToken({ subject: { dataFolder: folder } })
    expect(isFit(report)).toBe(true)
    expect(report).toMatchObject({ modulePath, facts: { label: 'gridseal', module: { manufacturer: 'SoftHSM', cryptoki: '2.40' } } })
    expect(report.mechanisms.length).toBeGreaterThan(30)
    if (report.facts.module.version === '2.6') expect(columnOf(report)).toEqual(columnOfReadme('SoftHSM 2.6.1'))
    expect(objectsOf(files.tokensFolder)).toEqual(before)
  })

  it('takes the PIN from a file, a variable or a person, and no message of it has one', async () => {
    const pin = readFileSync(files.pinFile, 'utf8').trim()
    process.env['GRIDSEAL_TEST_PIN'] = pin
    const reports = await Promise.all([
      checkToken(withPin(`file:${files.pinFile}`)),
      checkToken(withPin('env:GRIDSEAL_TEST_PIN')),
      checkToken({ subject: { modulePath }, askPin: () => Promise.resolve(pin) }),
    ])
    for (const report of reports) {
      expect(isFit(report)).toBe(true)
      expect(JSON.stringify(report)).not.toContain(pin)
    }
    expect(process.env['GRIDSEAL_TEST_PIN']).toBeUndefined()
    const refused = await checkToken(withPin(`file:${files.pinFile}&pin-value=${pin}`)).then(
      () => 'it was not refused',
      (error: unknown) => String(error),
    )
    expect(refused).toContain('pin-value is refused')
    expect(refused).not.toContain(pin)
  })

  it('says why nothing was found out', async () => {
    const wrongPin = join(folder, 'wrong.pin')
    writeFileSync(wrongPin, 'wrong\n')
    const cases: readonly (readonly [options: CheckOptions, message: string])[] = [
      [{ subject: { uri: 'pkcs11:token=a' } }, 'module-path'],
      [{ subject: { uri } }, `There is no PIN`],
      [{ subject: { modulePath } }, `pkcs11:token=gridseal;serial=`],
      [{ subject: { modulePath: '/nothing.so' } }, 'cannot open'],
      [{ subject: { dataFolder: join(folder, 'empty') } }, 'no token yet'],
      [{ subject: { uri: `${uri.replace('=gridseal', '=another')}&pin-source=file:${files.pinFile}` } }, 'no such token'],
      [withPin('env:GRIDSEAL_NOT_SET'), 'GRIDSEAL_NOT_SET'],
      [withPin('file:/nothing'), 'ENOENT'],
      [withPin(`file:${wrongPin}`), 'CKR_PIN_INCORRECT'],
    ]
    await Promise.all(
      cases.map(([options, message]) =>
        expect(checkToken(options)).rejects.toMatchObject({ name: 'NotChecked', message: expect.stringContaining(message) as string }),
      ),
    )
  })
})

describe('a module that fails', () => {
  let module: FaultModule
  let named: { readonly uri: string; readonly passEnvironment: readonly string[] }
  beforeAll(() => {
    module = faultModule()
    Object.assign(process.env, module.environment)
    named = {
      uri: `${uri.replace(modulePath, module.path)}&pin-source=file:${files.pinFile}`,
      passEnvironment: Object.keys(module.environment),
    }
  })
  afterEach(() => module.clear())
  afterAll(() => module.close())
  const check = (): Promise<TokenReport> => checkToken({ subject: { uri: named.uri }, passEnvironment: named.passEnvironment })

  it('by a crash is told with what it was trying', async () => {
    module.inject({ function: 'C_DeriveKey', action: { kind: 'crash' } })
    await expect(check()).rejects.toMatchObject({
      name: 'ModuleFailed',
      message: expect.stringContaining('It was trying: derivation by AES-CBC (KDF3).') as string,
    })
  })

  it('for want of a mechanism: the check names it, the service starts, and what needs it is 501 with token and mechanism', async () => {
    module.inject({ function: 'C_DeriveKey', action: { kind: 'answer', value: 0x70 } })
    const report = await check()
    expect(isFit(report)).toBe(false)
    expect(report.operations.filter(({ result }) => result === 'no').map(({ name, remark }) => [name, remark])).toEqual([
      ['aes-cbc-derive', 'C_DeriveKey answered CKR_MECHANISM_INVALID (0x70)'],
    ])
    const { hsm, identity, close } = await openHsm({ dataFolder: folder, lanes: 1, ...named })
    try {
      module.inject({ function: 'C_GenerateKeyPair', action: { kind: 'answer', value: 0x70 } })
      const id = keyId(newUuid())
      const made = withTestPermit([{ action: 'generate', keyId: id }], (permit) => hsm.generate(permit, id, 'ec-p256'))
      await expect(made).rejects.toMatchObject({
        code: 'mechanism-unsupported',
        status: 501,
        detail: expect.stringContaining('EC_KEY_PAIR_GEN (0x1040)') as string,
      })
      await expect(made).rejects.toMatchObject({ detail: expect.stringContaining(`gridseal (serial ${identity.serial})`) as string })
      module.clear()
      await withTestPermit([{ action: 'generate', keyId: id }], (permit) => hsm.generate(permit, id, 'ec-p256'))
    } finally {
      await close()
    }
  })
})
