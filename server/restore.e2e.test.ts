import { execFile } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import type pg from 'pg'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { verifyExportedLog } from '../clients/audit-verify.ts'
import { SimulatedCard } from '../clients/simulated-card.ts'
import { byTwo } from '../clients/held.ts'
import { type Participant, programArguments } from '../clients/site.ts'
import type { OpenedCard } from '../clients/vendor-open.ts'
import { waitForOrder } from '../clients/vendor.ts'
import { forkCeremony } from '../pkcs11/ceremony/run-ceremony.ts'
import { softToken, type SoftToken } from '../pkcs11/testing/soft-token.ts'
import { fastFolder } from './postgres/test-server.ts'
import { CrashSite } from './testing/crash-site.ts'
import { type EnrolledPerson, enrolPerson, logIn } from './testing/person-login.ts'
import { eventually } from './testing/processes.ts'

/** The drill: a token dies with its folder, and the service goes on with another one, restored from the backup. */

const run = promisify(execFile)
const MESSAGE = { message: Buffer.from('meter 17').toString('base64') }

const site = new CrashSite()
let folder: string
let b: SoftToken
let other: SoftToken
let env: SoftToken['env']
/** Of before. */
const signatures = new Map<string, string>()
let orderId: string
let cards: readonly OpenedCard[]
let chen: EnrolledPerson
let oldKey: string
let exported: string
let digest: string

/** `gridseal ...` with the settings of the site; what it said. Throws with what it said when its exit code is not 0. */
async function gridseal(args: readonly string[], extra: Readonly<Record<string, string>> = {}): Promise<string> {
  const settings = { ...process.env, GRIDSEAL_DATA: site.data, ...extra }
  return (await run(process.execPath, [...programArguments(), ...args], { env: settings })).stdout
}
const refused = async (args: readonly string[], extra: Readonly<Record<string, string>> = {}): Promise<string> => {
  const failed = await gridseal(args, extra).then(
    (stdout) => ({ stdout, stderr: 'it was not refused', code: 0 }),
    (error: unknown) => error as { readonly stdout: string; readonly stderr: string; readonly code: number },
  )
  expect(failed.code, failed.stderr).toBe(1)
  return failed.stderr
}

/** Asks for what another officer has to approve. Answers the id of the held request. */
const askHeld = async (args: readonly string[]): Promise<string> =>
  (JSON.parse(await gridseal([...args, '--json', ...site.officerOptions(0)])) as { holdId: string }).holdId
async function approveHeld(holdId: string): Promise<void> {
  const [path, bob] = [`/v1/policies/holds/${holdId}`, site.officers[1]?.client]
  await bob?.post(`${path}/approve`, { digest: (await bob.get<{ digest: string }>(path)).digest })
}
const sha256Of = (file: string): string => createHash('sha256').update(readFileSync(file)).digest('hex')

async function order(quantity: number): Promise<{ readonly id: string; readonly cards: readonly OpenedCard[] }> {
  const id = await site.submit(site.newOrder(quantity))
  await site.approve(id)
  await waitForOrder(site.vendor, id, { timeoutMs: 30_000 })
  const opened = await site.open(id)
  expect(opened.report).toMatchObject({ ok: true, cards: quantity, problems: [] })
  return { id, cards: opened.cards }
}

async function authenticateByCmac(card: OpenedCard | undefined): Promise<string> {
  if (card === undefined) throw new Error('there is no card')
  const path = `/v1/attestation/cards/${card.iccid}`
  const { challengeId, nonce, verifier } = await site.module.client.post<Record<'challengeId' | 'nonce' | 'verifier', string>>(`${path}/challenge`, {
    method: 'cmac',
  })
  const mac = await new SimulatedCard(card).mac({ nonce: Buffer.from(nonce, 'base64url'), verifier })
  return (await site.module.client.post<{ verdict: string }>(`${path}/answer`, { challengeId, mac: Buffer.from(mac).toString('base64url') })).verdict
}

async function sign(keyId: string): Promise<string> {
  const { signatures: made } = await site.module.client.post<{ signatures: { signature: string }[] }>(`/v1/kms/keys/${keyId}/sign`, { items: [MESSAGE] })
  return made[0]?.signature ?? ''
}
async function verifies(keyId: string, signature: string): Promise<boolean | undefined> {
  const items = [{ ...MESSAGE, signature }]
  const { results } = await site.module.client.post<{ results: { valid: boolean }[] }>(`/v1/kms/keys/${keyId}/verify`, { items })
  return results[0]?.valid
}

const toldKey = async (): Promise<string> => (await (await fetch(`${site.service.plainUrl}/audit/key`)).text()).trim()

beforeAll(async () => {
  folder = mkdtempSync(join(fastFolder(), 'gridseal-restore-'))
  ;[b, other] = await Promise.all([softToken(folder, 'token-b'), softToken(folder, 'token-c')])
  env = b.env
})
afterAll(async () => {
  await site.close()
  rmSync(folder, { recursive: true, force: true })
})

describe('the drill', () => {
  it('a second token becomes the recipient, and the first gets its keys with a backup', async () => {
    const pem = join(folder, 'B.pem')
    const said = await gridseal(['token', 'backup-recipient', '--token', b.uri, '--out', pem], env)
    expect(said).toMatch(/^[0-9a-f]{64}$/m)
    expect(await gridseal(['token', 'backup-recipient', '--token', b.uri, '--out', pem], env)).toBe(said)
    expect(await gridseal(['token', 'init', '--backup-recipient', pem])).toContain(/^[0-9a-f]{64}$/m.exec(said)?.[0])
    expect(await refused(['token', 'init', '--backup-recipient', pem])).toContain('has its root keys already')
  })

  it('the service runs on it: keys, cards, a delivery, a person with a password', async () => {
    await site.start()
    await site.enrolEverybody()
    expect(existsSync(join(site.data, 'token-backup.json'))).toBe(false)
    for (const algorithm of ['ec-p256', 'hmac-sha256']) {
      const { keyId } = await site.module.client.post<{ keyId: string }>('/v1/kms/keys', { label: algorithm, algorithm })
      signatures.set(keyId, await sign(keyId))
    }
    ;({ id: orderId, cards } = await order(20))
    expect(await authenticateByCmac(cards[0])).toBe('authenticated')
    chen = await enrolPerson(site, 'chen')
    oldKey = site.vkey
  })

  it('two of its root keys are rotated, and their successors are backed up too', async () => {
    const [alice, bob] = site.officers
    for (const key of ['storage-kek', 'row-mac']) {
      const { rotationId } = (await alice?.client.post<{ rotationId: string }>(`/v1/kms/root-keys/${key}/rotations`, { reason: 'a drill' })) ?? {}
      await bob?.client.post(`/v1/kms/root-keys/rotations/${rotationId}/approve`)
      await eventually(
        `the end of the rotation of ${key}`,
        async () => ((await alice?.client.get<{ state: string }>(`/v1/kms/root-keys/rotations/${rotationId}`))?.state === 'retired' ? true : undefined),
        { timeoutMs: 90_000, everyMs: 500 },
      )
    }
    for (const [keyId, signature] of signatures) expect(await verifies(keyId, signature)).toBe(true)
  })

  it('its backup is exported while it runs, and shows nothing of a key', async () => {
    exported = join(folder, 'backup.json')
    const holdId = await askHeld(['token', 'backup', '--reason', 'a drill'])
    const fetching = ['token', 'backup', '--run', holdId, '--out', exported]
    expect(await refused([...fetching, ...site.officerOptions(0)])).toContain('must approve')
    expect(existsSync(exported)).toBe(false)
    await approveHeld(holdId)
    expect(await refused([...fetching, ...site.officerOptions(1)])).toContain('no held request')
    const said = await gridseal([...fetching, ...site.officerOptions(0)])
    expect(said).not.toContain('NOT IN IT')
    digest = sha256Of(exported)
    expect(said).toContain(digest)
    const backup = JSON.parse(readFileSync(exported, 'utf8')) as { keys: { id: string }[] }
    expect(backup.keys.map(({ id }) => id.replace(/:[0-9a-f-]{36}$/, ''))).toEqual(
      expect.arrayContaining(['root:storage-kek-2', 'root:row-mac-2', 'root:group-mac', 'root:pepper', 'root:ca-root', 'master', 'transport']),
    )
    // Retired keys are not restored into a token of now.
    expect(backup.keys.map(({ id }) => id)).not.toContain('root:storage-kek')
    expect(await gridseal(['token', 'show'])).toMatch(/has a backup of \d+ keys for the recipient [0-9a-f]{64}; all keys are in it/)
  })

  it('the token dies, and without it the service does not start', async () => {
    await site.service.stop()
    for (const path of ['token', 'pins', 'token.json']) rmSync(join(site.data, path), { recursive: true })
    await expect(site.start()).rejects.toThrow(/another one than was recorded|is not token|not token/)
    for (const path of ['token', 'pins', 'token.json']) rmSync(join(site.data, path), { recursive: true })
  })

  it('a changed backup and a backup of another recipient are refused', async () => {
    const changed = join(folder, 'changed.json')
    writeFileSync(changed, readFileSync(exported, 'utf8').replace('"root:blind-index"', '"root:group-mac"'))
    expect(await refused(['token', 'restore', '--backup', changed, '--token', b.uri], env)).toContain('damaged')
    expect(await refused(['token', 'restore', '--backup', exported, '--token', other.uri], other.env)).toContain('made for another token')
  })

  it('the backup is restored into the second token, once', async () => {
    const pem = join(folder, 'C.pem')
    await gridseal(['token', 'backup-recipient', '--token', other.uri, '--out', pem], other.env)
    const command = ['token', 'restore', '--backup', exported, '--token', b.uri, '--next-recipient', pem]
    expect(await gridseal(command, env)).toContain(`The token ${b.serial} has the`)
    expect(await refused(command, env)).toContain('has keys already')
  })

  it('the database takes it, and the service goes on', async () => {
    await expect(site.start(env)).rejects.toThrow('gridseal token adopt')
    const { GRIDSEAL_OFFICER_PIN_FILE: _, ...alone } = env
    expect(await refused(['token', 'adopt', '--service-cannot-run'], alone)).toContain('needs the security officer')
    expect(await gridseal(['token', 'adopt', '--service-cannot-run'], env)).toContain(`The token ${b.serial} took the place of`)
    expect(await gridseal(['token', 'adopt'], env)).toContain('nothing was to do')
    await site.start(env)
    site.replaced = [oldKey]
    site.vkey = await toldKey()
    expect(site.vkey).not.toBe(oldKey)
    expect(await refused(['token', 'adopt'], env)).toContain('The service is running')
  })

  it('every key of before works, and a new order is filled', async () => {
    for (const [keyId, signature] of signatures) {
      expect(await verifies(keyId, signature)).toBe(true)
      expect(await verifies(keyId, await sign(keyId))).toBe(true)
    }
    const { report } = await site.open(orderId)
    expect(report).toMatchObject({ ok: true, cards: 20 })
    expect(await authenticateByCmac(cards[1])).toBe('authenticated')
    expect(await authenticateByCmac((await order(20)).cards[0])).toBe('authenticated')
  })

  it('a person logs in with the password and codes of before', async () => {
    expect(await logIn(site, chen, 'code')).toBe('urn:gridseal:auditor:chen')
    expect(await logIn(site, chen, 'recovery code')).toBe('urn:gridseal:auditor:chen')
    await expect(logIn(site, chen, 'recovery code', 'another password of some length')).rejects.toMatchObject({ code: 'login-failed' })
  })

  it('the log goes on and verifies as a whole, with both keys in their order and not otherwise', async () => {
    const { report, entries } = await site.log()
    expect(report.findings).toEqual([])
    const restored = entries.filter(({ operation }) => operation === 'system.token-restored')
    expect(restored).toMatchObject([{ kind: 'event', facts: { newToken: b.serial, oldKey, newKey: site.vkey, authorisation: 'none: both PINs' } }])
    // For the first recipient and for the next.
    expect(entries.filter(({ operation }) => operation === 'system.token-backed-up')).toHaveLength(2)
    // By whom, approved by whom, and which file.
    const exports = entries.filter(({ operation, kind }) => operation === 'kms.root-key.export-backup' && kind !== 'refusal')
    expect(exports).toMatchObject([
      { kind: 'intent', caller: { name: 'alice' }, facts: { approvers: ['urn:gridseal:officer:bob'] } },
      { kind: 'outcome', code: 'ok', facts: { sha256: digest, missing: 0 } },
    ])
    const path = join(site.folder, 'log.ndjson')
    expect((await verifyExportedLog({ path, vkey: oldKey })).ok).toBe(false)
    expect((await verifyExportedLog({ path, vkey: site.vkey })).ok).toBe(false)
    expect((await verifyExportedLog({ path, vkey: oldKey, replaced: [site.vkey] })).findings.map(({ code }) => code)).toContain('key-replaced')
    expect(await gridseal(['audit', 'verify', path, '--key', oldKey, '--key', site.vkey])).toContain('VERIFIED')
  })

  it('the checkpoint key is not replaced before two officers have decided on it', async () => {
    expect(await refused(['token', 'replace-checkpoint-key'], env)).toContain('The service is running')
    const holdId = await askHeld(['token', 'authorise', 'replace-checkpoint-key', '--serial', b.serial, '--reason', 'a drill'])
    await approveHeld(holdId)
    await site.service.stop()
    // It is approved, and not run.
    expect(await refused(['token', 'replace-checkpoint-key'], env)).toContain('Two officers have not decided')
    expect(await refused(['token', 'replace-checkpoint-key', '--service-cannot-run'], env)).toContain('two officers decide there')
    await site.start(env)
    await site.alice.client.post(`/v1/policies/holds/${holdId}/run`)
    expect(await gridseal(['token', 'show'], env)).toMatch(/^authorised +replace-checkpoint-key of token/m)
  })

  it('the checkpoint key is replaced as they have decided, once', async () => {
    await site.service.stop()
    expect(await gridseal(['token', 'replace-checkpoint-key'], env)).toContain('the old one is destroyed')
    expect(await refused(['token', 'replace-checkpoint-key'], env)).toContain('Two officers have not decided')
    const shown = await gridseal(['token', 'show'], env)
    expect(shown).not.toMatch(/^authorised/m)
    expect(shown).toContain('knows this token')
    expect(shown.match(/^history/gm)).toHaveLength(2)
    await site.start(env)
    site.replaced.push(site.vkey)
    site.vkey = await toldKey()
    const { report, entries } = await site.log()
    expect(report.findings).toEqual([])
    const decided = entries.findLast(({ operation, kind }) => operation === 'kms.root-key.authorise-ceremony' && kind === 'intent')
    expect(decided).toMatchObject({
      caller: { name: 'alice' },
      facts: { ceremony: 'replace-checkpoint-key', token: b.serial, approvers: ['urn:gridseal:officer:bob'] },
    })
    expect(entries.filter(({ operation }) => operation === 'system.checkpoint-key-replaced')).toMatchObject([
      { facts: { newKey: site.vkey, authorisation: decided?.facts?.['authorisation'] } },
    ])
    for (const [keyId, signature] of signatures) expect(await verifies(keyId, signature)).toBe(true)
  })

  it('its replacement goes on where a crash cut it off', async () => {
    await site.service.stop()
    // The new key made, and not recorded.
    await forkCeremony(b.environment, 'makeNextCheckpointKey', b.settings)
    await expect(site.start(env)).rejects.toThrow('root:checkpoint is another one')
    expect(await gridseal(['token', 'show'], env)).toContain('is being replaced: root:checkpoint-2, root:checkpoint-3')
    // Recorded, and the old one not destroyed.
    expect(await refused(['token', 'adopt'], env)).toContain('Two officers have not decided')
    expect(await gridseal(['token', 'adopt', '--service-cannot-run'], env)).toContain('with a new key')
    expect(await gridseal(['token', 'replace-checkpoint-key'], env)).toContain('come to its end (destroyed: root:checkpoint-2)')
    await site.start(env)
    site.replaced.push(site.vkey)
    site.vkey = await toldKey()
    const { report, entries } = await site.log()
    expect(report.findings).toEqual([])
    expect(entries.filter(({ operation }) => operation === 'system.checkpoint-key-replaced')).toHaveLength(2)
  })

  it('who edits the adoption in the database makes the service refuse', async () => {
    const edit = (change: string) => async (owner: pg.Client) => {
      await owner.query('ALTER TABLE token_adoptions DISABLE TRIGGER USER')
      expect((await owner.query(`UPDATE token_adoptions SET ${change} WHERE number = 1`)).rowCount).toBe(1)
      await owner.query('ALTER TABLE token_adoptions ENABLE TRIGGER USER')
    }
    await site.betweenRuns(edit('log_size = log_size + 1'))
    await expect(site.start(env)).rejects.toThrow('token_adoptions is not what the service wrote')
    await site.betweenRuns(edit('log_size = log_size - 1'))
    await site.start(env)
  })

  it('the restored token has a backup again, for a third one, which takes its place as two officers have decided', async () => {
    expect(await gridseal(['token', 'restore', '--token', other.uri], other.env)).toContain(`The token ${other.serial} has the`)
    const shown = await gridseal(['token', 'show', '--token', other.uri], other.env)
    expect(shown).toContain(`This is token ${other.serial}, and not token ${b.serial}.`)
    const [alice, bob] = site.officers as [Participant, Participant]
    await byTwo([alice, bob], '/v1/kms/root-keys/ceremonies', { ceremony: 'adopt-token', token: other.serial, reason: 'a drill', hours: 1 })
    // Whoever owns the database cannot prolong a decision, nor make one of another.
    const edit = (change: string) => async (owner: pg.Client) => {
      await owner.query('ALTER TABLE ceremony_authorisations DISABLE TRIGGER USER')
      expect((await owner.query(`UPDATE ceremony_authorisations SET ${change} WHERE ceremony = 'adopt-token'`)).rowCount).toBe(1)
      await owner.query('ALTER TABLE ceremony_authorisations ENABLE TRIGGER USER')
    }
    const { GRIDSEAL_OFFICER_PIN_FILE: _, ...alone } = other.env
    await site.betweenRuns(edit(`expires_at = expires_at + interval '1 hour'`))
    expect(await refused(['token', 'adopt'], alone)).toContain('is not what this token sealed')
    await site.start(env)
    await site.betweenRuns(edit(`expires_at = expires_at - interval '1 hour'`))
    expect(await gridseal(['token', 'adopt'], alone)).toContain(`The token ${other.serial} took the place of ${b.serial}`)
    await site.start(other.env)
    site.replaced.push(site.vkey)
    site.vkey = await toldKey()
    const { report, entries } = await site.log()
    expect(report.findings).toEqual([])
    expect(entries.findLast(({ operation }) => operation === 'system.token-restored')).toMatchObject({
      facts: { newToken: other.serial, authorisation: expect.stringMatching(/^[0-9a-f-]{36}$/) as string },
    })
    for (const [keyId, signature] of signatures) expect(await verifies(keyId, signature)).toBe(true)
  })
})
