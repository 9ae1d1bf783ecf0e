import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { testLog, testWitness } from '../policies/audit/testing/test-witness.ts'
import { ConfigError } from './config.ts'
import { loadWitnessPolicy } from './witness-policy-file.ts'

const { key } = testLog('grid.example/audit')
const [one, two] = [testWitness('witness.example/1').key.vkey, testWitness('witness.example/2').key.vkey]

let folder: string
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'gridseal-policy-'))
})
afterAll(() => rmSync(folder, { recursive: true }))

const load = (text: string): ReturnType<typeof loadWitnessPolicy> => {
  writeFileSync(join(folder, 'policy'), text)
  return loadWitnessPolicy(join(folder, 'policy'), key)
}

describe('the file of the witnesses', () => {
  it('is taken where it is of this log, or of none, and can hold', () => {
    expect(load(`log ${key.vkey}\nwitness a ${one} https://w.example\nwitness b ${two}\ngroup g any a b\nquorum g\n`).witnesses).toHaveLength(2)
    expect(load('quorum none\n').quorum).toBeUndefined()
  })

  it.each([
    ['is not one', 'quorum a\n', 'line 1: no witness or group a'],
    ['is another log\u2019s', `log ${testLog(key.name).key.vkey}\nquorum none\n`, `log ${key.vkey}`],
    ['could never hold', `witness a ${one} https://w.example\nwitness b ${two}\ngroup g all a b\nquorum g\n`, 'can never hold'],
    ['has a URL of another kind', `witness a ${one} file:///etc/passwd\nquorum a\n`, 'neither http nor https'],
  ])('that %s is refused with the reason', (_what, text, message) => {
    expect(() => load(text)).toThrow(ConfigError)
    expect(() => load(text)).toThrow(message)
  })

  it('that is not there is refused', () => {
    expect(() => loadWitnessPolicy(join(folder, 'none'), key)).toThrow('ENOENT')
  })
})
