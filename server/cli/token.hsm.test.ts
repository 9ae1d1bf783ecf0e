import { execFile } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { canRun } from '../../core/testing/tools.ts'
import { openHsm, type TokenReport } from '../../pkcs11/index.ts'
import { type NssToken, nssToken } from '../../pkcs11/testing/nss-token.ts'

interface Ended {
  readonly code: number
  readonly out: string
  readonly err: string
}

let folder: string
let serial: string
let pin: string
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'gridseal-check-'))
  const { identity, close } = await openHsm({ dataFolder: folder, lanes: 1 })
  await close()
  serial = identity.serial
  pin = readFileSync(join(folder, 'pins', 'user.pin'), 'utf8').trim()
})
afterAll(() => rmSync(folder, { recursive: true, force: true }))

/** The program, away from a terminal. */
const check = (args: readonly string[], env: NodeJS.ProcessEnv = {}): Promise<Ended> =>
  new Promise((resolve) => {
    const program = ['--import', 'tsx', 'server/cli/gridseal.ts', 'token', 'check', ...args]
    const settings = { GRIDSEAL_DATA: folder, SOFTHSM2_CONF: join(folder, 'token', 'softhsm2.conf') }
    const child = execFile(process.execPath, program, { env: { ...process.env, ...settings, ...env } }, (error, out, err) =>
      resolve({ code: error === null ? 0 : Number(error.code), out, err }),
    )
    child.stdin?.end()
  })

describe('gridseal token check', () => {
  it('0: the token can serve; as text, and as JSON', async () => {
    const [text, json] = await Promise.all([check([]), check(['--json'])])
    expect(text).toMatchObject({ code: 0, err: '' })
    for (const part of [`serial ${serial}`, 'Cryptoki 2.40', 'yes        AES-CMAC', 'enforced      not-extractable', 'FIT: Gridseal can use this token.'])
      expect(text.out).toContain(part)
    expect(json).toMatchObject({ code: 0, err: '' })
    const report = JSON.parse(json.out) as TokenReport & { readonly fit: boolean }
    expect(report).toMatchObject({ fit: true, facts: { label: 'gridseal', serial } })
    expect(report.operations.find(({ name }) => name === 'aes-cmac')).toMatchObject({
      result: 'yes',
      mechanisms: [{ name: 'AES_CMAC', number: '0x108a', listed: true }],
    })
    expect(text.out + json.out).not.toContain(pin)
  })

  it('2: it was not checked, and why; a PIN is no argument', async () => {
    const wrongPin = join(folder, 'wrong.pin')
    writeFileSync(wrongPin, 'wrong\n')
    const uri = `pkcs11:serial=${serial}?module-path=/usr/lib/softhsm/libsofthsm2.so`
    const cases: readonly (readonly [args: readonly string[], env: NodeJS.ProcessEnv, err: string])[] = [
      [['--pin', pin], {}, 'unknown option'],
      [['--module', '/m.so', '--token', uri], {}, 'not both'],
      [['--token', `${uri}&pin-value=${pin}`], {}, 'pin-value is refused'],
      [[], { GRIDSEAL_TOKEN: `${uri}&pin-source=file:${wrongPin}` }, 'CKR_PIN_INCORRECT'],
    ]
    const ended = await Promise.all(cases.map(([args, env]) => check(args, env)))
    ended.forEach(({ code, out, err }, at) => {
      expect(err).toContain(cases[at]?.[2])
      expect([code, out]).toEqual([2, ''])
      expect(err).not.toContain(pin)
    })
  })

  describe.runIf(canRun('certutil'))('with NSS softokn', () => {
    let nss: NssToken
    beforeAll(() => {
      nss = nssToken()
    })
    afterAll(() => nss.close())

    it('1: it cannot serve, and what that means; by the options, and by the settings', async () => {
      const ends = await Promise.all([
        check(['--token', nss.uri, '--library-parameters', nss.parameters]),
        check([], { GRIDSEAL_TOKEN: nss.uri, GRIDSEAL_TOKEN_LIBRARY_PARAMETERS: nss.parameters }),
      ])
      for (const { code, out } of ends) {
        expect(code).toBe(1)
        for (const part of ['not enforced  wrap-with-trusted', 'NOT FIT', 'choose another one', 'IGNORES=not-extractable,allowed-mechanisms,wrap-with-trusted'])
          expect(out).toContain(part)
      }
    })

    it('2: of a module with two tokens, one is to be named', async () => {
      const path = /module-path=([^&]+)/.exec(nss.uri)?.[1] ?? ''
      const ended = await check(['--module', path, '--library-parameters', nss.parameters])
      expect(ended).toMatchObject({ code: 2, err: expect.stringContaining('pkcs11:token=NSS%20Certificate%20DB') as string })
    })
  })
})
