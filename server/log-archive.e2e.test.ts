import { execFile } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import type pg from 'pg'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { programArguments } from '../clients/site.ts'
import { CrashSite } from './testing/crash-site.ts'
import { eventually } from './testing/processes.ts'

/** The drill: entries go into an archive and leave the database, by the program alone and killed at each place. */

const run = promisify(execFile)
const BEFORE = 256

let site: CrashSite
let owner: pg.Client
let archive: string
let auditor: readonly string[]

beforeAll(async () => {
  site = await CrashSite.open()
  owner = await site.owner()
  archive = join(site.folder, 'archive')
  const file = (name: string, content: string): string => {
    writeFileSync(join(site.folder, name), content)
    return join(site.folder, name)
  }
  const reach = ['--trust', file('root.pem', site.trust), '--certificate', file('ann.pem', site.auditor.certificate)]
  auditor = [...reach, '--key', file('ann.key.pem', site.auditor.key)]
  for (let at = 0; at < 300; at += 1) await site.auditor.client.get('/v1/policies/audit/checkpoint')
})
afterAll(async () => {
  await owner.end().catch(() => undefined)
  await site.close()
})

interface Ended {
  readonly code: number | null
  readonly signal?: string | null
  readonly stdout: string
  readonly stderr: string
}

/** `gridseal ...` with the settings of the site, to its end. */
async function gridseal(args: readonly string[], extra: Readonly<Record<string, string>> = {}): Promise<Ended> {
  const env = { ...process.env, GRIDSEAL_DATA: site.data, ...extra }
  return run(process.execPath, [...programArguments(), ...args], { env }).then(
    ({ stdout, stderr }) => ({ stdout, stderr, code: 0 }),
    (error: unknown) => error as Ended,
  )
}
const mirror = (folder: string): Promise<Ended> => gridseal(['audit', 'mirror', folder, '--url', site.service.url, '--log-key', site.vkey, ...auditor])
const verify = (): Promise<Ended> => gridseal(['audit', 'verify', archive, '--key', site.vkey])
const prune = (env: Readonly<Record<string, string>> = {}): Promise<Ended> =>
  gridseal(['audit', 'prune', '--before', String(BEFORE), '--archive', archive], env)

interface Compared {
  readonly lastPass?: { readonly endedAt: string; readonly entries: number }
  readonly findings: readonly { readonly code: string; readonly subject: string }[]
}
/** A whole comparison that begins now. */
async function compare(): Promise<string[]> {
  const before = (await site.auditor.client.get<Compared>('/v1/policies/integrity')).lastPass?.endedAt
  await site.alice.client.post('/v1/policies/integrity/check')
  const { findings } = await eventually('a pass', async () => {
    const now = await site.auditor.client.get<Compared>('/v1/policies/integrity')
    return now.lastPass === undefined || now.lastPass.endedAt === before ? undefined : now
  })
  return findings.map(({ code, subject }) => `${code}: ${subject}`)
}

describe('old entries', () => {
  it('are mirrored, compared, and pruned by two officers alone', async () => {
    expect((await mirror(archive)).stdout).toMatch(/^MIRRORED/)
    expect((await prune()).stderr).toContain('Two officers have not decided on this')
    const serial = /^token +.*, serial (\S+)$/m.exec((await gridseal(['token', 'show'])).stdout)?.[1] ?? ''
    const asking = ['token', 'authorise', 'prune-log', '--serial', serial, '--reason', 'yearly', '--json', ...site.officerOptions(0)]
    expect((await gridseal(asking)).stderr).toContain('--before INDEX goes with prune-log')
    const { holdId } = JSON.parse((await gridseal([...asking, '--before', String(BEFORE)])).stdout) as { holdId: string }
    const held = await site.bob.client.get<{ digest: string; facts: object }>(`/v1/policies/holds/${holdId}`)
    expect(JSON.stringify(held)).toContain('"before":256')
    await site.bob.client.post(`/v1/policies/holds/${holdId}/approve`, { digest: held.digest })
    expect((await prune()).stderr).toContain('Two officers have not decided on this')
    await site.alice.client.post(`/v1/policies/holds/${holdId}/run`)
    expect((await gridseal(['token', 'show'])).stdout).toMatch(/^authorised +prune-log before entry 256, with token/m)
    expect((await prune()).stderr).toContain('was not compared with the entries before 256')
    expect(await compare()).toEqual([])
  })

  // All six are in log-pruning.pg.test.ts.
  const POINTS = ['recorded', 'entries-page', 'groups-deleted']
  it.each(POINTS)('are pruned though the program is killed at prune.%s', async (point) => {
    expect(await prune({ GRIDSEAL_INSECURE_CRASH_AT: `prune.${point}` })).toMatchObject({ code: null, signal: 'SIGKILL' })
    await site.auditor.client.get('/v1/policies/audit/entries?operation=system.started')
    const { rows } = await owner.query<{ count: string }>('SELECT count(*) FROM audit_entries WHERE index < $1', [BEFORE])
    expect(Number(rows[0]?.count)).toBe(POINTS.indexOf(point) < POINTS.indexOf('entries-page') ? BEFORE : 0)
  })

  it('are gone then, and in the archive', async () => {
    expect(await prune()).toMatchObject({ code: 0, stdout: expect.stringContaining('PRUNED: entries before 256') as string })
    expect((await verify()).stdout).toMatch(/^VERIFIED/)
    const archived = { code: 'archived', status: 410 }
    await expect(site.auditor.client.download('/v1/policies/audit/export')).rejects.toMatchObject(archived)
    await expect(site.auditor.client.download('/v1/policies/audit/bundles/0')).rejects.toMatchObject(archived)
    expect((await fetch(`${site.service.plainUrl}/log/tile/0/000`)).status).toBe(200)
    expect(await site.auditor.client.get('/v1/policies/audit/entries?operation=system.log-pruned')).toMatchObject({
      archivedBefore: BEFORE,
      entries: [{ entry: { facts: { before: BEFORE } } }],
    })
  })

  it('are proven by the service, with their bytes from the archive', async () => {
    const [entry, proof] = [join(site.folder, 'entry.json'), join(site.folder, 'entry.tlog-proof')]
    expect((await gridseal(['audit', 'entry', archive, '17', '--out', entry])).code).toBe(0)
    writeFileSync(proof, (await site.auditor.client.get<{ proof: string }>('/v1/policies/audit/entries/17/proof')).proof)
    expect((await gridseal(['audit', 'verify-proof', entry, proof, '--key', site.vkey])).stdout).toMatch(/^IN THE LOG/)
    writeFileSync(entry, readFileSync(entry, 'utf8').replace('"seq":', '"seq":1'))
    expect((await gridseal(['audit', 'verify-proof', entry, proof, '--key', site.vkey])).code).toBe(1)
    expect((await gridseal(['audit', 'entry', archive, '999999', '--out', entry])).stderr).toContain('no bundle')
  })

  it('are missed by nobody: rows are compared as before, also after a restart', async () => {
    expect(await compare()).toEqual([])
    await owner.end()
    await site.service.stop()
    await site.start()
    owner = await site.owner()
    expect(await compare()).toEqual([])
    await owner.query(`UPDATE callers SET state = 'revoked' WHERE name = 'ann'`)
    await owner.query('ALTER TABLE audit_row_heads DISABLE TRIGGER USER')
    await owner.query(`DELETE FROM audit_row_heads WHERE relation = 'vendors'`)
    const found = await eventually('the change', async () => {
      const all = await compareAs()
      return all.length > 0 ? all : undefined
    })
    expect(found).toEqual(
      expect.arrayContaining([expect.stringMatching(/^row-edited: callers /), 'heads-differ: audit_row_heads', expect.stringMatching(/^row-added: vendors /)]),
    )
  })

  it('begin no new archive: the old one is copied first, and goes on', async () => {
    await owner.query(`UPDATE callers SET state = 'active' WHERE name = 'ann'`)
    const told = await mirror(join(site.folder, 'new'))
    expect([told.code, told.stderr]).toEqual([1, expect.stringContaining('Copy the archive into') as string])
    expect((await mirror(archive)).stdout).toMatch(/^MIRRORED/)
    expect((await verify()).stdout).toMatch(/^VERIFIED/)
  })
})

/** The same, read by an officer. */
async function compareAs(): Promise<string[]> {
  const { stdout } = await gridseal(['integrity', 'check', '--json'])
  return (JSON.parse(stdout) as Compared).findings.map(({ code, subject }) => `${code}: ${subject}`)
}
