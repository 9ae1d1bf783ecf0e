import { execFile } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import type pg from 'pg'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { byTwo } from '../clients/held.ts'
import { type Participant, programArguments } from '../clients/site.ts'
import { openAsUser } from '../pkcs11/ceremony/officer.ts'
import { forkCeremony } from '../pkcs11/ceremony/run-ceremony.ts'
import { existingToken } from '../pkcs11/chosen-token.ts'
import { CKO } from '../pkcs11/templates.ts'
import { TokenFolder } from '../pkcs11/token-folder.ts'
import { softToken, type SoftToken } from '../pkcs11/testing/soft-token.ts'
import { fastFolder } from './postgres/test-server.ts'
import { CrashSite } from './testing/crash-site.ts'
import { enrolPerson, logIn } from './testing/person-login.ts'

/** A token from before the root keys that came later, with its database: made here by taking them away. */

const run = promisify(execFile)
const LATER = ['root:policy', 'root:pepper']
const UNDER_THEM = ['policy_activations', 'person_passwords']

const site = new CrashSite()
let folder: string
let b: SoftToken

/** `gridseal ...` with the settings of the site: what it said, and its exit code. */
async function gridseal(args: readonly string[], extra: Readonly<Record<string, string>> = {}): Promise<{ readonly said: string; readonly code: number }> {
  const env = { ...process.env, GRIDSEAL_DATA: site.data, ...extra }
  return run(process.execPath, [...programArguments(), ...args], { env }).then(
    ({ stdout }) => ({ said: stdout, code: 0 }),
    (error: unknown) => {
      const { stdout, stderr, code } = error as { stdout: string; stderr: string; code: number }
      return { said: stdout + stderr, code }
    },
  )
}

/** Whatever a token has of these names. */
function takeAway(labels: readonly string[]): void {
  const { token: settings, environment } = existingToken({ dataFolder: site.data })
  Object.assign(process.env, environment.set)
  const token = openAsUser(settings)
  for (const label of labels)
    for (const objectClass of [CKO.PUBLIC, CKO.PRIVATE, CKO.SECRET]) {
      const handle = token.find(objectClass, label)
      if (handle !== undefined) token.destroy(handle)
    }
  token.logout()
}

const unprotected = async (owner: pg.Client, table: string, work: () => Promise<unknown>): Promise<void> => {
  await owner.query(`ALTER TABLE ${table} DISABLE TRIGGER USER`)
  await work()
  await owner.query(`ALTER TABLE ${table} ENABLE TRIGGER USER`)
}
const forget = async (owner: pg.Client, tables: readonly string[]): Promise<void> => {
  for (const table of tables) await unprotected(owner, table, () => owner.query(`DELETE FROM ${table}`))
}

beforeAll(async () => {
  folder = mkdtempSync(join(fastFolder(), 'gridseal-complete-'))
  b = await softToken(folder, 'token-b')
  const pem = join(folder, 'B.pem')
  await gridseal(['token', 'backup-recipient', '--token', b.uri, '--out', pem], b.env)
  await gridseal(['token', 'init', '--backup-recipient', pem])
  await site.start()
  await site.enrolEverybody()
  await site.betweenRuns(async (owner) => {
    await forget(owner, UNDER_THEM)
    await unprotected(owner, 'root_keys', () => owner.query('DELETE FROM root_keys WHERE key_id = ANY($1)', [LATER]))
    await unprotected(owner, 'token_key_backups', () => owner.query('DELETE FROM token_key_backups WHERE key_id = ANY($1)', [LATER]))
  })
  takeAway(LATER)
}, 120_000)
afterAll(async () => {
  await site.close()
  rmSync(folder, { recursive: true, force: true })
})

describe('a token from before the later root keys', () => {
  it('is not used, and is told what to do', async () => {
    await expect(site.start()).rejects.toThrow(/lacks root:pepper, root:policy: .*gridseal token complete/)
    const { said } = await gridseal(['token', 'show'])
    expect(said).toMatch(/missing: root:pepper, root:policy\. Add them: gridseal token complete/)
    expect(said).toContain('knows this token')
  })

  it('cut off between the keys and their record: it is refused, and the same command makes them anew', async () => {
    const { token, environment } = existingToken({ dataFolder: site.data })
    const keys = LATER as never
    const made = await forkCeremony(environment, 'addRootKeys', token, { keys, rowMac: 'root:row-mac' as never })
    expect(made.backups.map(({ backup }) => backup.keyId).sort()).toEqual([...LATER].sort())
    await expect(site.start()).rejects.toThrow(/was never recorded\. Where it was being added: gridseal token complete/)
    const { officerPinFile } = new TokenFolder(site.data)
    const pin = readFileSync(officerPinFile, 'utf8')
    writeFileSync(officerPinFile, 'wrong-pin-0')
    expect(await gridseal(['token', 'complete'])).toMatchObject({ code: 1, said: expect.stringContaining('two PINs') as string })
    writeFileSync(officerPinFile, pin)
    const { said, code } = await gridseal(['token', 'complete'])
    expect(code, said).toBe(0)
    expect(said).toContain('root:policy, root:pepper. Export the backup anew')
    expect((await gridseal(['token', 'complete'])).said).toContain('nothing was to do')
    expect((await gridseal(['token', 'show'])).said).toMatch(/key {9}root:pepper +hmac-sha256 KCV [0-9a-f]{10} \(hmac-sha256\)/)
  })

  it('has them from then on, backed up; the service starts, the log has it, and people log in', async () => {
    await site.start()
    expect((await gridseal(['token', 'complete'])).said).toContain('The service is running')
    const chen = await enrolPerson(site, 'chen')
    expect(await logIn(site, chen, 'code')).toBe('urn:gridseal:auditor:chen')
    const { report, entries } = await site.log()
    expect(report.findings).toEqual([])
    expect(entries.filter(({ operation }) => operation === 'system.root-keys-added')).toMatchObject([{ facts: { keys: LATER.join(' '), backups: 2 } }])
    const [alice, bob] = site.officers as [Participant, Participant]
    const exported = await byTwo<{ backup: string; missing: string[] }>([alice, bob], '/v1/kms/root-keys/backup', { reason: 'a drill' })
    expect(exported.missing).toEqual([])
    expect(exported.backup).toContain('root:pepper')
  })

  it('is not completed where a record was deleted while the key is in use, nor where a recorded key is gone', async () => {
    const deleted: object[] = []
    await site.betweenRuns((owner) =>
      unprotected(owner, 'root_keys', async () => deleted.push(...(await owner.query(`DELETE FROM root_keys WHERE key_id = 'root:pepper' RETURNING *`)).rows)),
    )
    expect(await gridseal(['token', 'complete'])).toMatchObject({ code: 1, said: expect.stringContaining('person_passwords has rows') as string })
    await expect(site.start()).rejects.toThrow('never recorded')
    await site.betweenRuns(async (owner) => {
      const [row = {}] = deleted
      const names = Object.keys(row)
      await owner.query(`INSERT INTO root_keys (${names.join(', ')}) VALUES (${names.map((_, at) => `$${String(at + 1)}`).join(', ')})`, Object.values(row))
    })
    await site.start()
    await site.service.stop()
    takeAway(['root:pepper'])
    await expect(site.start()).rejects.toThrow('lacks root:pepper')
    expect(await gridseal(['token', 'complete'])).toMatchObject({
      code: 1,
      said: expect.stringContaining('root:pepper is not in the token any more') as string,
    })
  })
})

describe('a backup from before the later root keys', () => {
  it('is restored without them, adopted where the database never knew them, and the token completed', async () => {
    await site.betweenRuns(async (owner) => {
      await forget(owner, UNDER_THEM)
      await unprotected(owner, 'root_keys', () => owner.query('DELETE FROM root_keys WHERE key_id = ANY($1)', [LATER]))
      await unprotected(owner, 'token_key_backups', () => owner.query('DELETE FROM token_key_backups WHERE key_id = ANY($1)', [LATER]))
    })
    expect(await gridseal(['token', 'restore', '--token', b.uri], b.env)).toMatchObject({ code: 0 })
    expect(await gridseal(['token', 'complete'], b.env)).toMatchObject({ code: 1, said: expect.stringContaining(`not token`) as string })
    expect(await gridseal(['token', 'adopt', '--service-cannot-run'], b.env)).toMatchObject({
      code: 0,
      said: expect.stringContaining('took the place of') as string,
    })
    await expect(site.start(b.env)).rejects.toThrow(/lacks root:pepper, root:policy: .*gridseal token complete/)
    expect(await gridseal(['token', 'complete'], b.env)).toMatchObject({ code: 0, said: expect.stringContaining('They have no backup') as string })
    await site.start(b.env)
    expect(await logIn(site, await enrolPerson(site, 'dora'), 'code')).toBe('urn:gridseal:auditor:dora')
  })
})
