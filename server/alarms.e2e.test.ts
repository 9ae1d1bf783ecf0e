import { execFile } from 'node:child_process'
import { renameSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import type pg from 'pg'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { ApiProblem } from '../clients/api.ts'
import { type Participant, programArguments } from '../clients/site.ts'
import { waitForOrder } from '../clients/vendor.ts'
import type { Entry } from '../policies/audit/entry.ts'
import { ROLES } from './postgres/cluster.ts'
import { CrashSite, NO_ANSWER } from './testing/crash-site.ts'
import { eventually, killNow } from './testing/processes.ts'

/** What goes wrong becomes an alarm: in health, metrics and the service's own log, and in the audit log as far as that can be written. */

interface Active {
  readonly kind: string
  readonly severity: string
  readonly detail: string
  readonly since: string
}
interface Listed {
  readonly alarmId: string
  readonly kind: string
  readonly state: string
}

let site: CrashSite
let owner: pg.Client
let keyId: string

beforeAll(async () => {
  // The second key that is made ends the service.
  site = await CrashSite.open({
    GRIDSEAL_ALARM_SECONDS: '2',
    GRIDSEAL_PERSONAL_RETENTION_DAYS: '0',
    GRIDSEAL_INSECURE_CRASH_AT: 'gate.executed@kms.key.generate#2',
  })
  owner = await site.owner()
  keyId = (await site.module.client.post<{ keyId: string }>('/v1/kms/keys', { label: 'readings', algorithm: 'ec-p256' })).keyId
})
afterAll(async () => {
  await site.close()
  await owner.end().catch(() => undefined)
})

const sign = (): Promise<unknown> => site.module.client.post(`/v1/kms/keys/${keyId}/sign`, { items: [{ message: 'YQ==' }] })
const codeOf = (work: Promise<unknown>): Promise<string> =>
  work.then(() => 'ok').catch((error: unknown) => (error instanceof ApiProblem ? error.code : String(error)))

const active = async (): Promise<readonly Active[]> =>
  ((await (await fetch(`${site.service.plainUrl}/healthz`)).json()) as { alarms: readonly Active[] }).alarms
const raised = (kind: string): Promise<Active> => eventually(`the alarm ${kind}`, async () => (await active()).find((alarm) => alarm.kind === kind))
const cleared = (kind: string): Promise<boolean> =>
  eventually(`the end of ${kind}`, async () => ((await active()).some((alarm) => alarm.kind === kind) ? undefined : true))
const metric = async (kind: string): Promise<string | undefined> =>
  new RegExp(String.raw`gridseal_alarm_active\{kind="${kind}"\} (\d)`).exec(await (await fetch(`${site.service.plainUrl}/metrics`)).text())?.[1]
const list = async (): Promise<readonly Listed[]> => (await site.alice.client.get<{ alarms: Listed[] }>('/v1/policies/alarms?limit=100')).alarms
const told = (kind: string, what: string): boolean =>
  site.said.some((line) => line.includes(`"alarm":"${kind}"`) && line.includes(what) && line.includes('"since":"'))

/** `gridseal` from a terminal of theirs. */
async function gridseal(who: Participant, ...words: readonly string[]): Promise<string> {
  const file = (name: string, text: string): string => {
    const path = join(site.folder, `${who.name}.${name}`)
    writeFileSync(path, text)
    return path
  }
  const reach = ['--url', site.service.url, '--trust', file('root', site.trust), '--certificate', file('pem', who.certificate), '--key', file('key', who.key)]
  return (await promisify(execFile)(process.execPath, [...programArguments(), ...words, ...reach])).stdout
}

/** What the run of a held request answers, once another has approved it. */
async function byTwo(who: Participant, other: Participant, held: string): Promise<string> {
  const address = `/v1/policies/holds/${(JSON.parse(held) as { holdId: string }).holdId}`
  const { digest } = await other.client.get<{ digest: string }>(address)
  await other.client.post(`${address}/approve`, { digest })
  return JSON.stringify(await who.client.post(`${address}/run`, {}))
}

/** Events of the audit log about a kind, in their order. */
const eventsOf = (entries: readonly Entry[], kind: string): string[] =>
  entries.filter(({ kind: is, facts }) => is === 'event' && facts?.['alarmKind'] === kind).map(({ operation }) => operation)
const written = (kind: string, count: number): Promise<string[]> =>
  eventually(`${String(count)} entries of ${kind}`, async () => {
    const events = eventsOf((await site.log()).entries, kind)
    return events.length >= count ? events : undefined
  })

describe('an alarm', () => {
  it('of an operation that a crash left open is raised by the next start, and ends with it', async () => {
    await expect(site.module.client.post('/v1/kms/keys', { label: 'lost', algorithm: 'hmac-sha256' })).rejects.toThrow(NO_ANSWER)
    await site.ended()
    // Reconciliation would close it at once: it has to wait for who owns the row.
    await owner.query('BEGIN')
    expect((await owner.query('SELECT FROM open_intents FOR UPDATE')).rowCount).toBe(1)
    await site.start()
    const alarm = await raised('open-intent')
    await owner.query('ROLLBACK')
    expect(alarm).toMatchObject({ severity: 'warning', detail: expect.stringMatching(/^1 open, the oldest since /) as string })
    expect(Number.isNaN(Date.parse(alarm.since))).toBe(false)
    await cleared('open-intent')
    expect(await written('open-intent', 2)).toEqual(['alarm.raised', 'alarm.cleared'])
    expect([told('open-intent', 'an alarm was raised'), told('open-intent', 'an alarm was cleared')]).toEqual([true, true])
  })

  it('of a late checkpoint is raised, acknowledged by an officer, and not raised again by a restart', async () => {
    // Who owns the tables keeps the sequencer waiting; what is acknowledged is durable all the same.
    await owner.query('BEGIN')
    await owner.query('LOCK TABLE audit_head IN EXCLUSIVE MODE')
    await sign()
    const alarm = await raised('checkpoint-late')
    expect([alarm.severity, await metric('checkpoint-late'), await metric('clock-step')]).toEqual(['critical', '1', '0'])
    const { alarmId } = await eventually('its row', async () => (await list()).find(({ kind }) => kind === 'checkpoint-late'))
    expect(await site.alice.client.post(`/v1/policies/alarms/${alarmId}/acknowledge`, { reason: 'looking' })).toMatchObject({ state: 'acknowledged' })
    await expect(site.module.client.get('/v1/policies/alarms')).rejects.toMatchObject({ code: 'forbidden' })
    await site.kill()
    await owner.query('ROLLBACK')
    await site.start()
    await cleared('checkpoint-late')
    expect(await written('checkpoint-late', 2)).toEqual(['alarm.raised', 'alarm.cleared'])
    expect((await list()).filter(({ kind }) => kind === 'checkpoint-late')).toEqual([expect.objectContaining({ alarmId, state: 'cleared' })])
  })

  it('of a token that is away is told at once, and written down if it still is one when the token is back', async () => {
    const folder = join(site.data, 'token')
    renameSync(folder, `${folder}.away`)
    killNow(site.lanes)
    const alarm = await raised('token-away')
    expect([alarm.severity, await metric('token-away')]).toEqual(['critical', '1'])
    expect(await codeOf(sign())).toMatch(/-unavailable$/)
    renameSync(`${folder}.away`, folder)
    await eventually('a signature again', async () => ((await codeOf(sign())) === 'ok' ? true : undefined))
    await cleared('token-away')
    expect(await written('token-away', 2)).toEqual(['alarm.raised', 'alarm.cleared'])
  })

  it('of clocks that are apart is raised, and nothing that uses a key or changes something is done; reading is', async () => {
    // What the service's login takes for the database's clock goes 10 s ahead.
    const admin = await site.admin()
    await admin.query(`CREATE SCHEMA tampered; GRANT USAGE ON SCHEMA tampered TO PUBLIC`)
    await admin.query(
      `CREATE FUNCTION tampered.clock_timestamp() RETURNS timestamptz LANGUAGE sql AS $$ SELECT pg_catalog.clock_timestamp() + interval '10 seconds' $$`,
    )
    const settle = async (path: string): Promise<void> => {
      await admin.query(`ALTER DATABASE gridseal SET search_path = ${path}`)
      // The service's next connections look there first.
      await admin.query('SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = $1', [ROLES.service])
    }
    await settle('tampered, public, pg_catalog')
    try {
      const alarm = await raised('clock-step')
      expect(alarm.detail).toMatch(/^the database’s clock and this machine’s are (9\.\d|10\.\d) s apart$/)
      expect(await codeOf(sign())).toBe('clock-unreliable')
      expect(await codeOf(site.module.client.post('/v1/kms/keys', { label: 'late', algorithm: 'hmac-sha256' }))).toBe('clock-unreliable')
      expect(await codeOf(site.auditor.client.get('/v1/policies/audit/checkpoint'))).toBe('ok')
    } finally {
      await settle('"$user", public')
      await admin.end()
    }
    await eventually('a signature again', async () => ((await codeOf(sign())) === 'ok' ? true : undefined))
    const { entries } = await site.log()
    expect(entries.filter(({ kind, code }) => kind === 'refusal' && code === 'clock-unreliable').length).toBeGreaterThanOrEqual(2)
    expect((await written('clock-step', 1))[0]).toBe('alarm.raised')
  })

  it('and personal values: found, revealed and erased from the terminals of three people', async () => {
    const orderId = await site.submit(site.newOrder(1))
    await site.approve(orderId)
    await waitForOrder(site.vendor, orderId, { timeoutMs: 20_000 })
    const [card] = (await site.open(orderId)).cards
    const subjects = join(site.folder, 'subjects')
    writeFileSync(subjects, `iccid ${String(card?.iccid)}\n* ${String(card?.imsi)}\n`)
    const { alice, bob } = site
    const found = await gridseal(alice, 'personal', 'find', '--subjects', subjects)
    expect(found).toMatch(/^\d+ values in \d+ entries, as iccid, imsi\n/)

    // An entry is to be read within a second or so.
    const index = await eventually('the entry of the card', async () => {
      const { entries } = await site.auditor.client.get<{ entries: { index: number; entry: Entry }[] }>(
        '/v1/policies/audit/entries?operation=card-personalization.cards.fill&limit=1000',
      )
      return entries.findLast(({ entry }) => entry.personal !== undefined)?.index
    })
    const reveal = async (): Promise<string> =>
      byTwo(site.auditor, bob, await gridseal(site.auditor, 'audit', 'reveal', '--entry', String(index), '--reason', 'case 1', '--json'))
    expect(await reveal()).toContain(`"value":"${String(card?.iccid)}"`)

    const erased = await byTwo(alice, bob, await gridseal(alice, 'personal', 'erase', '--subjects', subjects, '--reason', 'request 7', '--json'))
    expect(JSON.parse(erased)).toMatchObject({ retained: 0, values: Number(/^\d+/.exec(found)?.[0]) })
    expect(await gridseal(alice, 'personal', 'find', '--subjects', subjects)).toBe('The log can show no such value.\n')
    expect(await reveal()).toContain('"erasure"')
    expect((await site.log()).report).toMatchObject({ ok: true })
    // The card's own row still has its numbers, which the service needs; what it said does not.
    expect((await site.open(orderId)).report).toMatchObject({ ok: true })
    for (const value of [card?.iccid, card?.imsi]) expect(site.said.filter((line) => line.includes(String(value)))).toEqual([])
    expect(await gridseal(alice, 'alarm', 'list')).toMatch(/^(None\.|[0-9a-f-]{36} {2}critical)/)
  })

  it('of a group that was edited before it was sequenced stays, and stands in the database though the log has stopped', async () => {
    const second = await site.owner()
    await second.query('BEGIN')
    await second.query('LOCK TABLE audit_head IN EXCLUSIVE MODE')
    // The sequencer waits with what it has read already: what comes now is of its next round.
    await sign()
    await eventually('the sequencer waits', async () =>
      (await owner.query(`SELECT FROM pg_locks WHERE NOT granted AND relation = 'audit_head'::regclass`)).rowCount === 0 ? undefined : true,
    )
    await sign()
    await owner.query('ALTER TABLE audit_groups DISABLE TRIGGER USER')
    await owner.query(
      `UPDATE audit_groups SET mac = sha256(mac) WHERE (writer, epoch, first_seq) = (SELECT writer, epoch, first_seq FROM audit_groups ORDER BY created_at DESC LIMIT 1)`,
    )
    await owner.query('ALTER TABLE audit_groups ENABLE TRIGGER USER')
    await second.query('COMMIT')
    await second.end()
    expect(await raised('group-forged')).toMatchObject({ severity: 'critical', detail: expect.stringContaining('audit log group-') as string })
    expect(await metric('group-forged')).toBe('1')
    expect(await codeOf(sign())).toBe('ok')
    const { alarmId } = await eventually('its row', async () => (await list()).find(({ kind }) => kind === 'group-forged'))
    expect(await site.alice.client.post(`/v1/policies/alarms/${alarmId}/acknowledge`, { reason: 'the database is kept as it is' })).toMatchObject({
      state: 'acknowledged',
    })
    expect(told('group-forged', 'an alarm was raised')).toBe(true)
  })
})
