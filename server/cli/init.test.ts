import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { makeTlsRequest } from '../../clients/csr.ts'
import { readConfig } from '../config.ts'
import { initialise } from './init.ts'

const folder = mkdtempSync(join(tmpdir(), 'gridseal-init-'))
const file = (name: string): string => join(folder, name)
const config = readConfig({ GRIDSEAL_DATA: file('data') })

beforeAll(async () => {
  for (const name of ['alice', 'bob']) {
    const { csr, privateKey } = await makeTlsRequest(name)
    writeFileSync(file(`${name}.csr.pem`), csr)
    writeFileSync(file(`${name}.key.pem`), privateKey)
  }
})
afterAll(() => rmSync(folder, { recursive: true }))

describe('the first two officers', () => {
  const alice = `alice=${file('alice.csr.pem')}`
  it.each([
    ['one alone', [alice], 'Name exactly two officers'],
    ['one name twice', [alice, `alice=${file('bob.csr.pem')}`], 'Name exactly two officers'],
    ['one key under two names', [alice, `bob=${file('alice.csr.pem')}`], 'The requests of alice and bob are of one key.'],
    ['a key in place of a request', [alice, `bob=${file('bob.key.pem')}`], 'The CSR is not one PEM block'],
    ['a request that is not there', [alice, `bob=${file('nope.csr.pem')}`], 'gridseal caller request --name bob --out FOLDER makes one.'],
    ['no name', [alice, file('bob.csr.pem')], '--officer is written name=csr.pem'],
  ])('are not %s: nothing is begun', async (_what, officers, says) => {
    await expect(initialise({ config, officers, out: file('out') })).rejects.toMatchObject({
      name: 'CliError',
      message: expect.stringContaining(says) as string,
    })
    expect(readdirSync(folder).filter((name) => name === 'data' || name === 'out')).toEqual([])
  })
})
