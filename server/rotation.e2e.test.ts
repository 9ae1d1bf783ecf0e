import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { programArguments } from '../clients/site.ts'
import { waitForOrder } from '../clients/vendor.ts'
import { CrashSite, NO_ANSWER } from './testing/crash-site.ts'
import { eventually } from './testing/processes.ts'

/** The whole of it, by the command line: two officers, a service that is killed meanwhile, and a token that has one key fewer at the end. */

const run = promisify(execFile)
const site = new CrashSite()
const signatures = new Map<string, string>()
let rotationId: string
let orderId: string

async function sign(keyId: string): Promise<string> {
  const items = [{ message: Buffer.from('meter 17').toString('base64') }]
  return (await site.module.client.post<{ signatures: { signature: string }[] }>(`/v1/kms/keys/${keyId}/sign`, { items })).signatures[0]?.signature ?? ''
}

/** `gridseal token rotate ...` as an officer. */
async function rotate(officer: number, ...args: readonly string[]): Promise<{ readonly code: number; readonly stdout: string; readonly stderr: string }> {
  return run(process.execPath, [...programArguments(), 'token', 'rotate', ...args, ...site.officerOptions(officer)]).then(
    ({ stdout, stderr }) => ({ code: 0, stdout, stderr }),
    (error: unknown) => error as { readonly code: number; readonly stdout: string; readonly stderr: string },
  )
}
const metric = async (name: string): Promise<number> =>
  Number(new RegExp(`^${name} (.*)$`, 'm').exec(await (await fetch(`${site.service.plainUrl}/metrics`)).text())?.[1])

beforeAll(async () => {
  await site.start()
  await site.enrolEverybody()
  for (let at = 0; at < 5; at++) {
    const { keyId } = await site.module.client.post<{ keyId: string }>('/v1/kms/keys', { label: `key-${at}`, algorithm: 'hmac-sha256' })
    signatures.set(keyId, await sign(keyId))
  }
  orderId = await site.submit(site.newOrder(700))
  await site.approve(orderId)
  await waitForOrder(site.vendor, orderId, { timeoutMs: 60_000 })
})
afterAll(() => site.close())

describe('gridseal token rotate', () => {
  it('says what to do when it is asked for nothing, for two things, or wrongly', async () => {
    for (const args of [
      [],
      ['storage-kek'],
      ['--status', '--approve', '01890000-0000-7000-8000-000000000000'],
      ['--approve', 'x'],
      ['blind-index', '--reason', 'x'],
    ]) {
      const { code, stderr } = await rotate(0, ...args)
      expect(code, stderr).toBe(1)
      expect(stderr).not.toContain('    at ')
    }
    expect((await rotate(0, '--status')).stderr).toContain('No root key was ever rotated')
  })

  it('asks as one officer, and is not approved by the same', async () => {
    const asked = await rotate(0, 'storage-kek', '--reason', 'yearly', '--json')
    expect(asked.stderr).toBe('')
    ;({ rotationId } = JSON.parse(asked.stdout) as { rotationId: string })
    expect(JSON.parse(asked.stdout)).toMatchObject({ state: 'requested', from: 'root:storage-kek', to: 'root:storage-kek-2', reason: 'yearly' })
    expect((await rotate(0, '--approve', rotationId)).stderr).toContain('Another officer must approve it')
    expect((await rotate(1, 'row-mac', '--reason', 'too')).stderr).toContain(rotationId)
    expect(await metric('gridseal_root_key_rotation_state')).toBeGreaterThanOrEqual(0)
  })

  it('is killed in the middle of it, and goes on by itself', async () => {
    await site.kill()
    await site.start({ GRIDSEAL_INSECURE_CRASH_AT: 'gate.executed@kms.root-key.renew#2' })
    const approved = await rotate(1, '--approve', rotationId)
    if (approved.code !== 0) expect(approved.stderr).toMatch(NO_ANSWER)
    await site.ended()
    await site.start()
    const status = await rotate(1, '--status')
    expect(status.stdout).toContain(`rotation    ${rotationId}`)
    expect(status.stdout).toMatch(/state {7}(rows are brought under|nothing is under)/)
    expect(status.stdout).toMatch(/left {8}\d+ rows|about to be destroyed/)
    for (const [keyId, signature] of signatures) expect(await sign(keyId)).toBe(signature)
    await eventually(
      'the end of the rotation',
      async () => ((await rotate(1, '--status', rotationId, '--json')).stdout.includes('"state": "retired"') ? true : undefined),
      { timeoutMs: 90_000 },
    )
    expect((await rotate(0, '--status')).stdout).toContain('gridseal token backup')
    expect(await metric('gridseal_root_key_rotation_state')).toBe(0)
  })

  it('leaves every key as it was, and deliveries of before', async () => {
    for (const [keyId, signature] of signatures) expect(await sign(keyId)).toBe(signature)
    expect((await site.open(orderId)).report).toMatchObject({ ok: true, cards: 700 })
    const { report, entries } = await site.log()
    expect(report.findings).toEqual([])
    expect(entries.filter(({ operation, kind, code }) => operation === 'kms.root-key.retire' && kind === 'outcome' && code === 'ok')).toHaveLength(1)
  })

  it('is seen in gridseal token show, and the service starts again', async () => {
    await site.service.stop()
    const { stdout } = await run(process.execPath, [...programArguments(), 'token', 'show'], { env: { ...process.env, GRIDSEAL_DATA: site.data } })
    expect(stdout).toContain('knows this token')
    expect(stdout).toMatch(/generation {2}root:storage-kek {5}KCV [0-9a-f]{10} {2}retired/)
    expect(stdout).toMatch(/generation {2}root:storage-kek-2 {3}KCV [0-9a-f]{10} {2}current/)
    expect(stdout).toMatch(/generation {2}root:row-mac {9}KCV [0-9a-f]{10} {2}current/)
    expect(stdout).not.toMatch(/^key {9}root:storage-kek /m)
    await site.start()
    for (const [keyId, signature] of signatures) expect(await sign(keyId)).toBe(signature)
  })
})
