import { cpSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { type Service, startService } from '../clients/site.ts'
import { addLog, initWitness } from '../clients/witness/witness-folder.ts'
import { openCheckpoint, parseLogKey } from '../policies/audit/checkpoint.ts'
import { type JudgedCheckpoint, judgeCheckpoint, parseWitnessPolicy } from '../policies/audit/witness-policy.ts'
import { eventually } from './testing/processes.ts'
import { startWitness, type WitnessProcess } from './testing/witness-process.ts'

let folder: string
let data: string
let policy: string
const running: (Service | WitnessProcess)[] = []

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'gridseal-witnessed-'))
  data = join(folder, 'data')
  policy = join(folder, 'witnesses.policy')
})
afterEach(async () => {
  await Promise.all(running.splice(0).map((one) => one.kill()))
  rmSync(folder, { recursive: true })
})

async function serve(env: Readonly<Record<string, string>> = {}): Promise<Service> {
  const service = await startService({ data, env: { GRIDSEAL_WITNESS_POLICY: policy, ...env } })
  running.push(service)
  return service
}

const healthOf = async ({ plainUrl }: Service): Promise<Record<string, { readonly state: string }>> =>
  (await (await fetch(`${plainUrl}/readyz`)).json()) as Record<string, { readonly state: string }>

describe('a service whose log has a witness', () => {
  it('has its checkpoints cosigned; set back, database and files, it is refused by the token, and without that by the witness', {
    timeout: 240_000,
  }, async () => {
    const vkey = initWitness(join(folder, 'w1'), 'witness.example/w1')
    writeFileSync(policy, 'quorum none\n')
    const first = await serve()
    const key = (await (await fetch(`${first.plainUrl}/audit/key`)).text()).trim()
    await first.stop()
    addLog(join(folder, 'w1'), key)
    const witness = await startWitness(join(folder, 'w1'))
    running.push(witness)
    writeFileSync(policy, `log ${key}\nwitness w1 ${vkey} ${witness.url}\nquorum w1\n`)
    cpSync(join(data, 'postgres'), join(folder, 'older'), { recursive: true })
    const { size } = openCheckpoint(readFileSync(join(data, 'checkpoint'), 'utf8'), parseLogKey(key))

    const second = await serve({ GRIDSEAL_WITNESSES_MUST_ANSWER: 'true' })
    const witnessedPath = join(data, 'checkpoint-witnessed')
    const judge = (): JudgedCheckpoint | undefined =>
      existsSync(witnessedPath) ? judgeCheckpoint(readFileSync(witnessedPath, 'utf8'), parseWitnessPolicy(readFileSync(policy)), [parseLogKey(key)]) : undefined
    const grown = await eventually('a witnessed checkpoint beyond the older database', () => ((judge()?.checkpoint.size ?? 0) > size ? judge() : undefined))
    expect(grown.satisfied).toBe(true)
    // Whoever reads the public checkpoint has it with the cosignatures.
    const served = await (await fetch(`${second.plainUrl}/log/checkpoint`)).text()
    expect(judgeCheckpoint(served, parseWitnessPolicy(readFileSync(policy)), [parseLogKey(key)]).satisfied).toBe(true)
    expect(await healthOf(second)).toMatchObject({ witnesses: { state: 'ready' } })
    expect(await (await fetch(`${second.plainUrl}/metrics`)).text()).toContain('gridseal_witnesses_well 1')
    await second.stop()

    rmSync(join(data, 'postgres'), { recursive: true })
    cpSync(join(folder, 'older'), join(data, 'postgres'), { recursive: true })
    for (const name of ['checkpoint', 'checkpoint-witnessed']) rmSync(join(data, name))
    await expect(serve()).rejects.toThrow(/database-behind: the token holds/)
    await expect(serve({ GRIDSEAL_TOKEN_HEAD_SECONDS: '0' })).rejects.toThrow(/database-behind: the witness w1 holds/)
  })
})
