import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { compareCheckpoints } from '../clients/audit-consistency.ts'
import { verifyLog } from '../clients/audit-verify.ts'
import { programArguments } from '../clients/site.ts'
import { EdgeSite } from './testing/edge-site.ts'

let site: EdgeSite
let folder: string
let reach: readonly string[]
beforeAll(async () => {
  site = await EdgeSite.open()
  folder = site.crash.folder
  const write = (name: string, content: string): string => {
    writeFileSync(join(folder, name), content)
    return join(folder, name)
  }
  reach = [
    ...['--url', site.service.url, '--trust', write('root.pem', site.crash.trust), '--log-key', site.crash.vkey],
    ...['--certificate', write('auditor.pem', site.auditor.certificate), '--key', write('auditor.key.pem', site.auditor.key)],
  ]
})
afterAll(() => site.close())

const program = (...args: string[]): string[] => [...programArguments(), 'audit', 'mirror', join(folder, 'mirror'), ...args]
const mirror = () => promisify(execFile)(process.execPath, program(...reach))

describe('gridseal audit mirror', () => {
  it('keeps a copy that verifies, killed or not, and refuses a service that shows another log', async () => {
    const killed = spawn(process.execPath, program(...reach), { stdio: 'ignore' })
    const ended = once(killed, 'exit')
    for (let tries = 0; tries < 2000 && killed.exitCode === null && !existsSync(join(folder, 'mirror')); tries += 1)
      await new Promise((resolve) => setTimeout(resolve, 5))
    killed.kill('SIGKILL')
    await ended
    expect((await mirror()).stdout).toMatch(/^MIRRORED: \d+ entries, \d+ of them new/)
    const known = [readFileSync(join(folder, 'mirror', 'checkpoint'), 'utf8')]
    expect(await verifyLog({ log: join(folder, 'mirror'), vkey: site.crash.vkey, threads: 1 })).toMatchObject({ ok: true, findings: [] })
    // Its own requests are entries, a second later.
    await new Promise((resolve) => setTimeout(resolve, 2500))
    expect((await mirror()).stdout).toMatch(/^MIRRORED: \d+ entries, [1-9]\d* of them new/)
    expect(await verifyLog({ log: join(folder, 'mirror'), vkey: site.crash.vkey, known, threads: 1 })).toMatchObject({ ok: true, findings: [] })
    const other = site.crash.vkey.replace(/^[^+]+/, 'other.example')
    await expect(promisify(execFile)(process.execPath, program(...reach.map((one) => (one === site.crash.vkey ? other : one))))).rejects.toMatchObject({
      code: 1,
    })
  })

  it('has the tree of the same log beside it on the plain listener, without entries', async () => {
    const get = async (path: string) => fetch(`${site.service.plainUrl}/log/${path}`)
    const checkpoint = await get('checkpoint')
    expect([checkpoint.status, checkpoint.headers.get('cache-control')]).toEqual([200, 'public, max-age=1'])
    const older = readFileSync(join(folder, 'mirror', 'checkpoint'), 'utf8')
    const compared = await compareCheckpoints({ older, newer: await checkpoint.text(), vkey: site.crash.vkey, tiles: `${site.service.plainUrl}/log` })
    expect(compared).toMatchObject({ ok: true })
    for (const path of ['tile/entries/000', 'tile/entries/000.p/1', 'tile/0/x001/000', 'tile/7/000.p/1']) expect((await get(path)).status).toBe(404)
  })
})
