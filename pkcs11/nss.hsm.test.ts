import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { canRun } from '../core/testing/tools.ts'
import { checkToken, isFit, openHsm, type ProbeName, type TokenReport } from './index.ts'
import { type NssToken, nssToken } from './testing/nss-token.ts'
import { columnOf, columnOfReadme } from './testing/token-table.ts'

/** What NSS softokn does not enforce. */
const OPEN: readonly ProbeName[] = ['not-extractable', 'allowed-mechanisms', 'wrap-with-trusted']

describe.runIf(canRun('certutil'))('NSS softokn, a token of another make', () => {
  let nss: NssToken
  let data: string
  let report: TokenReport
  beforeAll(async () => {
    nss = nssToken()
    data = mkdtempSync(join(tmpdir(), 'gridseal-nss-data-'))
    report = await checkToken({ subject: { uri: nss.uri }, libraryParameters: nss.parameters })
  })
  afterAll(() => {
    nss.close()
    rmSync(data, { recursive: true, force: true })
  })

  it('obeys where it must refuse, and the probes say so', () => {
    expect(report.probes.filter(({ result }) => result === 'not enforced').map(({ name }) => name)).toEqual(OPEN)
    expect(report.probes.filter(({ remark }) => remark !== undefined)).toEqual([])
    expect(isFit(report)).toBe(false)
  })

  it('knows AES-KWP by the other number, and does what it does not list', () => {
    const found = new Map(report.operations.map((one) => [one.name, one]))
    expect(found.get('aes-kwp')).toMatchObject({ result: 'yes', remark: 'as 0x210b' })
    expect(found.get('aes-cbc-derive')).toMatchObject({ result: 'yes', mechanisms: [{ listed: false }] })
    expect(report.operations.filter(({ wrong }) => wrong)).toEqual([])
  })

  it('is as README.md says of that version', ({ skip }) => {
    skip(report.facts.module.version !== '3.87', 'README.md tells of 3.87, and another version is installed')
    expect(columnOf(report)).toEqual(columnOfReadme('NSS softokn 3.87'))
  })

  it('has no key of the check left', () => expect(nss.listKeys()).toContain('no keys found'))

  const open = async (options: { readonly insecureTokenIgnores?: readonly ProbeName[]; readonly officerPinFile?: string } = {}): Promise<void> => {
    const opened = await openHsm({ dataFolder: data, uri: nss.uri, libraryParameters: nss.parameters, lanes: 1, ...options })
    await opened.close()
  }

  it('is refused at the start of a service, and no root key is made in it', async () => {
    for (const options of [{}, { officerPinFile: nss.pinFile }, { insecureTokenIgnores: OPEN.slice(1) }]) {
      await expect(open(options)).rejects.toMatchObject({ code: 'hsm-failed', detail: expect.stringContaining('does not enforce not-extractable') as string })
    }
    expect(nss.listKeys()).toContain('no keys found')
  })

  it('cannot hold the root keys even where what it ignores is named: it has no security officer who could set TRUSTED', async () => {
    await expect(open({ insecureTokenIgnores: OPEN })).rejects.toMatchObject({ detail: expect.stringContaining('no root keys yet') as string })
    await expect(open({ insecureTokenIgnores: OPEN, officerPinFile: nss.pinFile })).rejects.toMatchObject({
      detail: expect.stringContaining('C_Login answered') as string,
    })
    expect(nss.listKeys()).toContain('no keys found')
  })
})
