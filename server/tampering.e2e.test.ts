import { execFile, execFileSync } from 'node:child_process'
import { X509Certificate } from 'node:crypto'
import { rmSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import type pg from 'pg'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { verifyEntryProof } from '../clients/audit-proof.ts'
import { makeEncryptionCertificate } from '../clients/csr.ts'
import { enrolFirstOfficers, type Participant, programArguments } from '../clients/site.ts'
import { waitForOrder } from '../clients/vendor.ts'
import type { IntegrityReport } from '../policies/integrity/index.ts'
import { CrashSite, NO_ANSWER } from './testing/crash-site.ts'
import { readiness } from './testing/health.ts'
import { eventually } from './testing/processes.ts'

/** What who owns the database does to it, while the service runs and between its runs. Each edit is undone before the next. */

const run = promisify(execFile)
const CARDS = '/v1/card-personalization'
const integrityFailed = { status: 500, code: 'integrity-failed' }

let site: CrashSite
let owner: pg.Client

beforeAll(async () => {
  site = await CrashSite.open()
  owner = await site.owner()
})
afterAll(async () => {
  await site.close()
  await owner.end().catch(() => undefined)
})

/** Runs a statement that must change rows, past the triggers that only say that a table is append-only. */
async function edit(
  statement: string,
  { values = [], client = owner }: { readonly values?: readonly unknown[]; readonly client?: pg.Client } = {},
): Promise<void> {
  const table = /(?:UPDATE|DELETE FROM) (audit_\w+)/.exec(statement)?.[1]
  if (table !== undefined) await client.query(`ALTER TABLE ${table} DISABLE TRIGGER USER`)
  const { rowCount } = await client.query(statement, [...values])
  if (table !== undefined) await client.query(`ALTER TABLE ${table} ENABLE TRIGGER USER`)
  if (!statement.startsWith('ALTER')) expect(rowCount, statement).toBeGreaterThan(0)
}

async function one<Row extends object>(query: string, values: readonly unknown[] = []): Promise<Row> {
  const [row] = (await owner.query<Row>(query, [...values])).rows
  if (row === undefined) throw new Error(`no row: ${query}`)
  return row
}

async function readyOrder(quantity = 10): Promise<string> {
  const orderId = await site.submit(site.newOrder(quantity))
  await site.approve(orderId)
  await waitForOrder(site.vendor, orderId, { timeoutMs: 20_000 })
  return orderId
}

describe('a card', () => {
  let orderId: string
  beforeAll(async () => {
    orderId = await readyOrder()
  })

  const SWAP = `UPDATE cards c SET %s = o.%s FROM cards o WHERE c.order_id = $1 AND o.order_id = $1 AND c.position IN (0, 1) AND o.position = 1 - c.position`
  it.each(['keys', 'delivery_mac'])('whose %s are those of another is not delivered', async (column) => {
    await edit(SWAP.replaceAll('%s', column), { values: [orderId] })
    await expect(site.open(orderId)).rejects.toMatchObject(integrityFailed)
    await edit(SWAP.replaceAll('%s', column), { values: [orderId] })
  })

  it('that is deleted is missed, and put back it is delivered', async () => {
    await owner.query('CREATE TABLE kept AS SELECT * FROM cards WHERE order_id = $1 AND position = 9', [orderId])
    await edit('DELETE FROM cards WHERE order_id = $1 AND position = 9', { values: [orderId] })
    await expect(site.open(orderId)).rejects.toMatchObject(integrityFailed)
    await owner.query('INSERT INTO cards SELECT * FROM kept')
    expect((await site.open(orderId)).report).toMatchObject({ ok: true, cards: 10 })
  })
})

describe('a key', () => {
  let keys: readonly [string, string]
  const generate = async (who: Participant, label: string): Promise<string> =>
    (await who.client.post<{ keyId: string }>('/v1/kms/keys', { label, algorithm: 'hmac-sha256' })).keyId
  const sign = (who: Participant, keyId: string): Promise<unknown> => who.client.post(`/v1/kms/keys/${keyId}/sign`, { items: [{ message: 'AAAA' }] })

  beforeAll(async () => {
    keys = [await generate(site.module, 'one'), await generate(site.module, 'two')]
  })

  it('that was exchanged for another key does not sign', async () => {
    const swap = 'UPDATE kms_keys k SET wrapped = o.wrapped, kcv = o.kcv FROM kms_keys o WHERE k.id = ANY($1) AND o.id = ANY($1) AND k.id <> o.id'
    await edit(swap, { values: [keys] })
    for (const keyId of keys) await expect(sign(site.module, keyId)).rejects.toMatchObject(integrityFailed)
    await edit(swap, { values: [keys] })
    for (const keyId of keys) await sign(site.module, keyId)
  })

  it('that was given to another owner signs for neither', async () => {
    const other = await site.enrol('module', 'traffic')
    await expect(sign(other, keys[0])).rejects.toMatchObject({ status: 403 })
    const give = 'UPDATE kms_keys SET owner = $2 WHERE id = $1'
    await edit(give, { values: [keys[0], 'urn:gridseal:module:traffic'] })
    await expect(sign(other, keys[0])).rejects.toMatchObject(integrityFailed)
    await expect(sign(site.module, keys[0])).rejects.toMatchObject({ status: 403 })
    await edit(give, { values: [keys[0], 'urn:gridseal:module:billing'] })
    await sign(site.module, keys[0])
  })

  it('whose state was changed does nothing, and is not shown', async () => {
    await edit(`UPDATE kms_keys SET state = 'compromised' WHERE id = $1`, { values: [keys[0]] })
    await expect(site.module.client.get(`/v1/kms/keys/${keys[0]}`)).rejects.toMatchObject(integrityFailed)
    await expect(site.module.client.post(`/v1/kms/keys/${keys[0]}/verify`, { items: [{ message: 'AAAA', signature: 'AAAA' }] })).rejects.toMatchObject(
      integrityFailed,
    )
    await expect(sign(site.module, keys[0])).rejects.toMatchObject({ name: 'ApiProblem' })
    await edit(`UPDATE kms_keys SET state = 'active' WHERE id = $1`, { values: [keys[0]] })
    await sign(site.module, keys[0])
  })
})

describe('a vendor', () => {
  it('whose encryption certificate was exchanged gets no key under it', async () => {
    const { certificate } = await makeEncryptionCertificate('mallory')
    const { raw, fingerprint256 } = new X509Certificate(certificate)
    const before = await one<{ certificate: Buffer; fingerprint: Buffer }>('SELECT certificate, fingerprint FROM vendors WHERE id = $1', [site.vendor.vendorId])
    const put = 'UPDATE vendors SET certificate = $2, fingerprint = $3 WHERE id = $1'
    await edit(put, { values: [site.vendor.vendorId, raw, Buffer.from(fingerprint256.replaceAll(':', ''), 'hex')] })
    await expect(site.alice.client.post(`${CARDS}/vendors/${site.vendor.vendorId}/transport-keys`)).rejects.toMatchObject(integrityFailed)
    await expect(site.submit(site.newOrder(1))).rejects.toMatchObject(integrityFailed)
    await edit(put, { values: [site.vendor.vendorId, before.certificate, before.fingerprint] })
    await site.submit(site.newOrder(1))
  })
})

describe('an order', () => {
  it('that nobody approved is not filled; it is put aside and named, and others go on', async () => {
    const orderId = await site.submit(site.newOrder(10))
    await edit(`UPDATE orders SET state = 'approved' WHERE id = $1`, { values: [orderId] })
    await readyOrder()
    const halt = await eventually(
      'the order to be halted',
      async () => (await owner.query<{ code: string }>('SELECT code FROM order_halts WHERE order_id = $1', [orderId])).rows[0],
    )
    expect(halt.code).toBe('integrity-failed')
    expect((await owner.query('SELECT FROM cards WHERE order_id = $1', [orderId])).rowCount).toBe(0)
    await expect(site.vendor.client.get(`${CARDS}/orders/${orderId}`)).rejects.toMatchObject(integrityFailed)
    const halted = (await site.log()).entries.find(
      ({ operation, kind, facts }) => operation === 'card-personalization.order.halt' && kind === 'outcome' && facts?.['order'] === orderId,
    )
    expect(halted?.facts).toMatchObject({ reason: 'integrity-failed' })
  })

  it('whose ICCIDs were exchanged is not filled', async () => {
    const orderId = await site.submit(site.newOrder(10))
    await edit(`UPDATE iccids SET iccid = '89860019999999999999' WHERE order_id = $1 AND position = 3`, { values: [orderId] })
    await site.approve(orderId)
    await expect(waitForOrder(site.vendor, orderId)).rejects.toThrow(/integrity-failed/)
  })
})

describe('a caller', () => {
  const answers = (who: Participant): Promise<{ code: string }> =>
    who.client.get('/v1/kms/keys').then(
      () => ({ code: 'ok' }),
      (error: { code: string }) => error,
    )
  /** What they are answered until it is this, at most for as long as a revocation may take. */
  async function answeredUntil(who: Participant, wanted: string): Promise<string[]> {
    const codes = new Set<string>()
    await eventually(wanted, async () => (codes.add((await answers(who)).code).has(wanted) ? true : undefined), { timeoutMs: 5_000 })
    return [...codes]
  }

  it('that was revoked is not let in by an edited registration', async () => {
    const who = await site.enrol('module', 'revoked-one')
    await site.alice.client.post(`/v1/policies/callers/${who.callerId}/revoke`)
    await answeredUntil(who, 'unauthenticated')
    await edit(`UPDATE callers SET state = 'active' WHERE id = $1`, { values: [who.callerId] })
    expect(await answeredUntil(who, 'integrity-failed')).not.toContain('ok')
    await edit(`UPDATE callers SET state = 'revoked' WHERE id = $1`, { values: [who.callerId] })
    expect(await answeredUntil(who, 'unauthenticated')).not.toContain('ok')
  })

  it('whose certificate was revoked is not let in by an edited certificate', async () => {
    const who = await site.enrol('module', 'revoked-two')
    const { serial } = await one<{ serial: string }>('SELECT serial FROM certificates WHERE subject_id = $1', [who.callerId])
    await site.alice.client.post(`/v1/kms/certificates/${serial}/revoke`, { reason: 'keyCompromise' })
    await answeredUntil(who, 'unauthenticated')
    await edit(`UPDATE certificates SET state = 'issued', reason = NULL, revoked_at = NULL WHERE serial = $1`, { values: [serial] })
    expect(await answeredUntil(who, 'integrity-failed')).not.toContain('ok')
  })

  it('is not somebody else by an edited certificate', async () => {
    const who = await site.enrol('module', 'climber')
    await edit('UPDATE certificates SET subject_id = $2 WHERE subject_id = $1', { values: [who.callerId, site.alice.callerId] })
    await answeredUntil(who, 'integrity-failed')
    await expect(who.client.get('/v1/policies/callers')).rejects.toMatchObject(integrityFailed)
  })

  it('whose whole old row was put back differs from what the log says last of it', async () => {
    const who = await site.enrol('module', 'revoked-three')
    const read = (): Promise<{ version: number; mac: Buffer }> => one('SELECT version, mac FROM callers WHERE id = $1', [who.callerId])
    const put = 'UPDATE callers SET state = $2, version = $3, mac = $4 WHERE id = $1'
    const old = await read()
    await site.alice.client.post(`/v1/policies/callers/${who.callerId}/revoke`)
    const now = await read()
    await edit(put, { values: [who.callerId, 'active', old.version, old.mac] })
    const { entries } = await site.log()
    const last = entries.flatMap(({ rows = [] }) => rows.filter(({ table, id }) => table === 'callers' && id === who.callerId)).at(-1)
    expect([last?.version, (await read()).version]).toEqual([old.version + 1, old.version])
    await edit(put, { values: [who.callerId, 'revoked', now.version, now.mac] })
  })
})

describe('the first two officers', () => {
  it('are not enrolled again because the database has forgotten them', async () => {
    await owner.query('CREATE TABLE kept_bootstrap AS SELECT * FROM bootstrap')
    await edit('DELETE FROM bootstrap')
    const again = enrolFirstOfficers(site.service, site.settings(), join(site.folder, 'others'), ['mallory', 'eve'])
    await expect(again).rejects.toMatchObject({ code: 1, stderr: expect.stringMatching(/a row was deleted. Nobody is enrolled/) as string })
    await owner.query('INSERT INTO bootstrap SELECT * FROM kept_bootstrap')
    const { callers } = await site.alice.client.get<{ callers: { name: string }[] }>('/v1/policies/callers')
    expect(callers.map(({ name }) => name)).not.toContain('mallory')
  })
})

describe('the log, edited after it was signed', () => {
  /** The group with the entry of an operation, by its place. */
  const groupOf = (operation: string) =>
    one<{ writer: number; epoch: number; first_seq: string; bundle: Buffer; operation_id: string }>(
      `SELECT g.writer, g.epoch, g.first_seq, g.bundle, e.operation_id FROM audit_entries e JOIN audit_groups g ON (g.writer, g.epoch, g.first_seq) = (e.writer, e.epoch, e.group_seq)
       WHERE position($1::bytea IN g.bundle) > 0 ORDER BY e.index LIMIT 1`,
      [Buffer.from(`"operation":"${operation}"`)],
    )
  const PUT = 'UPDATE audit_groups SET bundle = $4 WHERE writer = $1 AND epoch = $2 AND first_seq = $3'

  it('shows in the auditor’s export', async () => {
    expect((await site.log()).report.ok).toBe(true)
    const { writer, epoch, first_seq: first, bundle } = await groupOf('card-personalization.vendor.confirm')
    const edited = Buffer.from(bundle)
    edited.write('mallo', edited.indexOf('alice'))
    await edit(PUT, { values: [writer, epoch, first, edited] })
    const { report } = await site.log()
    expect(report.ok).toBe(false)
    expect(report.findings[0]?.code).toBe('root-mismatch')
    await edit(PUT, { values: [writer, epoch, first, bundle] })
    expect((await site.log()).report.ok).toBe(true)
  })

  it('is not shown to an auditor who asks for the operation', async () => {
    const { writer, epoch, first_seq: first, bundle, operation_id: id } = await groupOf('card-personalization.vendor.confirm')
    const edited = Buffer.from(bundle)
    edited.write('0000', edited.indexOf('"fingerprint":"') + '"fingerprint":"'.length)
    await edit(PUT, { values: [writer, epoch, first, edited] })
    const answer = await site.auditor.client.get(`/v1/policies/audit/operations/${id}`).catch((error: unknown) => error)
    const proof = await site.auditor.client.get(`/v1/policies/audit/operations/${id}/proof`).catch((error: unknown) => error)
    await edit(PUT, { values: [writer, epoch, first, bundle] })
    expect(answer).toMatchObject(integrityFailed)
    expect(proof).toMatchObject(integrityFailed)
  })

  it('leaves an earlier proof of an entry as good as it was', async () => {
    const { writer, epoch, first_seq: first, bundle, operation_id: id } = await groupOf('card-personalization.vendor.confirm')
    const { entries } = await site.auditor.client.get<{ entries: { bytes: string; proof: string }[] }>(`/v1/policies/audit/operations/${id}/proof`)
    const vkey = await (await fetch(`${site.service.plainUrl}/audit/key`)).text()
    const verified = () => entries.map(({ bytes, proof }) => verifyEntryProof({ bytes: Buffer.from(bytes, 'base64'), proof, vkey }))
    expect(verified()[0]).toMatchObject({ ok: true, entry: { id, operation: 'card-personalization.vendor.confirm' } })
    await edit(PUT, { values: [writer, epoch, first, Buffer.from(bundle).fill(0)] })
    expect(verified().every(({ ok }) => ok)).toBe(true)
    await edit(PUT, { values: [writer, epoch, first, bundle] })
  })

  it('has no whole export when a group is gone', async () => {
    const { writer, epoch, first_seq: first } = await groupOf('card-personalization.vendor.confirm')
    const move = 'UPDATE audit_groups SET epoch = $4 WHERE writer = $1 AND epoch = $2 AND first_seq = $3'
    await edit(move, { values: [writer, epoch, first, 99_999] })
    await expect(site.auditor.client.download('/v1/policies/audit/export')).rejects.toThrow(NO_ANSWER)
    await edit(move, { values: [writer, 99_999, first, epoch] })
    expect((await site.log()).report.ok).toBe(true)
  })
})

describe('the log, edited before it was sequenced', () => {
  it('stops loudly at a group that the service did not write, and goes on once it is gone', async () => {
    const { writer, epoch, next } = await one<{ writer: number; epoch: number; next: string }>(
      'SELECT writer, epoch, max(first_seq + count) AS next FROM audit_groups GROUP BY writer, epoch ORDER BY max(created_at) DESC LIMIT 1',
    )
    await owner.query(
      `INSERT INTO audit_groups (writer, epoch, first_seq, count, bundle, chain, mac) SELECT writer, epoch, $3, count, bundle, chain, mac FROM audit_groups WHERE writer = $1 AND epoch = $2 LIMIT 1`,
      [writer, epoch, next],
    )
    await eventually('the log to stop', async () => (await readiness(site.service.plainUrl))['auditLog'] === 'away' || undefined)
    expect(site.said.filter((line) => line.includes('audit log has stopped'))).toHaveLength(1)
    expect(site.said.find((line) => line.includes('audit log has stopped'))).toMatch(/group-(mac|chain)/)

    await edit('DELETE FROM audit_groups WHERE writer = $1 AND epoch = $2 AND first_seq = $3', { values: [writer, epoch, next] })
    await site.kill()
    await site.start()
    expect((await site.log()).report).toMatchObject({ ok: true, findings: [] })
  })

  it('stops loudly at a gap', async () => {
    // A burst that the kill leaves unsequenced, most likely: the sequencer comes round once a second.
    const { keyId } = await site.module.client.post<{ keyId: string }>('/v1/kms/keys', { label: 'burst', algorithm: 'hmac-sha256' })
    const gap = await eventually('an unsequenced group with one after it', async () => {
      for (let at = 0; at < 10; at++) await site.module.client.post(`/v1/kms/keys/${keyId}/sign`, { items: [{ message: 'AAAA' }] })
      await site.kill()
      const [found] = (
        await owner.query<{ writer: number; epoch: number; first_seq: string }>(
          `SELECT g.writer, g.epoch, g.first_seq FROM audit_groups g LEFT JOIN audit_sequenced s USING (writer, epoch)
           WHERE g.first_seq >= coalesce(s.next_seq, 0) AND EXISTS (SELECT FROM audit_groups n WHERE (n.writer, n.epoch) = (g.writer, g.epoch) AND n.first_seq > g.first_seq)
           ORDER BY g.first_seq DESC LIMIT 1`,
        )
      ).rows
      if (found === undefined) await site.start()
      return found
    })
    await owner.query('CREATE TABLE kept_group AS SELECT * FROM audit_groups WHERE writer = $1 AND epoch = $2 AND first_seq = $3', [
      gap.writer,
      gap.epoch,
      gap.first_seq,
    ])
    await edit('DELETE FROM audit_groups WHERE writer = $1 AND epoch = $2 AND first_seq = $3', { values: [gap.writer, gap.epoch, gap.first_seq] })
    const said = site.said.length
    await site.start().catch(() => undefined)
    await eventually('the fault to be told', () => (site.said.slice(said).some((line) => line.includes('group-gap')) ? true : undefined))
    await site.betweenRuns((client) => client.query('INSERT INTO audit_groups SELECT * FROM kept_group'))
    await site.start()
    expect((await site.log()).report).toMatchObject({ ok: true, findings: [] })
  })
})

describe('the database compared with the log, while the service runs', () => {
  const check = async (): Promise<{ code: number; report: IntegrityReport }> => {
    const env = { ...process.env, GRIDSEAL_DATA: site.data, GRIDSEAL_LANES: '1' }
    const ended = await run(process.execPath, [...programArguments(), 'integrity', 'check', '--json'], { env }).then(
      ({ stdout }) => ({ code: 0, stdout }),
      (error: { code: number; stdout: string }) => error,
    )
    return { code: ended.code, report: JSON.parse(ended.stdout) as IntegrityReport }
  }

  it('is named in what was edited above and not put back, and in nothing else', async () => {
    const { code, report } = await check()
    expect(code).toBe(1)
    const named = report.findings.map((finding) => `${finding.code}: ${finding.subject.split(' ')[0] ?? ''}`)
    expect(named.sort()).toEqual(['content-differs: order_chunks', 'row-edited: certificates', 'row-edited: certificates', 'row-edited: orders'])
    expect(report.rows).toBeGreaterThan(50)
  })
})

describe('between two runs: the service does not start', () => {
  it.each([
    ['a shorter log', 'UPDATE audit_head SET size = size - 1', 'UPDATE audit_head SET size = size + 1', /audit log (database-behind|head-inconsistent)/],
    [
      'a checkpoint that the log did not sign',
      `UPDATE audit_checkpoints SET note = note || ' '`,
      'UPDATE audit_checkpoints SET note = left(note, -1)',
      /audit log checkpoint-invalid/,
    ],
    [
      'a schema that somebody changed',
      'ALTER TABLE bindings DROP CONSTRAINT one_card_for_an_imei',
      'ALTER TABLE bindings ADD CONSTRAINT one_card_for_an_imei EXCLUDE USING gist (imei WITH =, valid WITH &&)',
      /constraint one_card_for_an_imei on bindings: it is missing/,
    ],
    ['another token', `UPDATE root_keys SET token_serial = 'x' || token_serial`, 'UPDATE root_keys SET token_serial = substr(token_serial, 2)', /token/],
  ])('on %s', async (_what, change, undo, fault) => {
    await site.betweenRuns((client) => edit(change, { client }))
    try {
      await expect(site.start()).rejects.toThrow(fault)
    } finally {
      await site.betweenRuns((client) => edit(undo, { client }))
    }
  })

  it('on an older copy of the database, and says so', async () => {
    const [folder, copy, newer] = ['postgres', 'postgres-copy', 'postgres-newer'].map((name) => join(site.data, name))
    const move = (from = '', to = ''): Buffer => execFileSync('mv', [from, to])
    await site.service.stop()
    execFileSync('cp', ['-a', folder ?? '', copy ?? ''])
    await site.start()
    await readyOrder()
    await site.log()
    await site.service.stop()

    move(folder, newer)
    move(copy, folder)
    await expect(site.start()).rejects.toThrow(/audit log database-behind: [^]*Restore the newer database/)
    rmSync(folder ?? '', { recursive: true })
    move(newer, folder)
    await site.start()
    expect((await site.log()).report).toMatchObject({ ok: true, findings: [] })
  })
})
