import { execFile, execFileSync } from 'node:child_process'
import { X509Certificate } from 'node:crypto'
import { copyFileSync, cpSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { SimulatedCard } from '../clients/simulated-card.ts'
import { programArguments } from '../clients/site.ts'
import type { OpenedCard } from '../clients/vendor-open.ts'
import { waitForOrder } from '../clients/vendor.ts'
import { addLog, initWitness } from '../clients/witness/witness-folder.ts'
import { nextIccid } from '../core/iccid.ts'
import { CrashSite, type SeriesOrder } from './testing/crash-site.ts'
import { readiness } from './testing/health.ts'
import { eventually } from './testing/processes.ts'
import { startWitness, type WitnessProcess } from './testing/witness-process.ts'

/** The database is gone, and all that is left of it is an older copy: the log goes on under another origin, and nothing is issued twice. */

const run = promisify(execFile)
const site = new CrashSite()
let witness: WitnessProcess
let witnessKey: string
let oldKey: string
/** Of the copy, and of the time that is lost. */
let kept: { readonly order: SeriesOrder; readonly cards: readonly OpenedCard[] }
let lost: SeriesOrder
let lostCheckpoint: string
let usim: SimulatedCard
let lostSeqs: number[]
let lostCrl: number
let revokedSerial: string

const policyFile = (): string => join(site.folder, 'witnesses.policy')
const withWitness = () => ({ GRIDSEAL_WITNESS_POLICY: policyFile() })
const writePolicy = (key: string): void => writeFileSync(policyFile(), `log ${key}\nwitness w1 ${witnessKey} ${witness.url}\nquorum w1\n`)
const toldKey = async (): Promise<string> => (await (await fetch(`${site.service.plainUrl}/audit/key`)).text()).trim()

async function gridseal(...args: readonly string[]): Promise<{ readonly code: number; readonly stdout: string; readonly stderr: string }> {
  const env = { ...process.env, GRIDSEAL_DATA: site.data, ...withWitness() }
  return run(process.execPath, [...programArguments(), ...args], { env }).then(
    ({ stdout, stderr }) => ({ code: 0, stdout, stderr }),
    (error: unknown) => error as { readonly code: number; readonly stdout: string; readonly stderr: string },
  )
}

async function fill(order: SeriesOrder): Promise<readonly OpenedCard[]> {
  const id = await site.submit(order)
  await site.approve(id)
  await waitForOrder(site.vendor, id, { timeoutMs: 30_000 })
  return (await site.open(id)).cards
}

/** The card answers a challenge of Milenage; the SEQ that it saw, and the verdict. */
async function authenticate(card: SimulatedCard, iccid: string): Promise<{ readonly seq: number; readonly verdict: string }> {
  const path = `/v1/attestation/cards/${iccid}`
  const { challengeId, rand, autn } = await site.module.client.post<Record<'challengeId' | 'rand' | 'autn', string>>(`${path}/challenge`, {
    method: 'milenage',
  })
  const answer = card.authenticate(Buffer.from(rand, 'base64url'), Buffer.from(autn, 'base64url'))
  const body = answer.kind === 'res' ? { res: Buffer.from(answer.res).toString('base64url') } : {}
  const { verdict } = await site.module.client.post<{ verdict: string }>(`${path}/answer`, { challengeId, ...body })
  return { seq: card.highestSeq, verdict }
}

async function crlNumber(): Promise<number> {
  const der = Buffer.from(await (await fetch(`${site.service.plainUrl}/crl/cards.crl`)).arrayBuffer())
  return Number.parseInt(
    /crlNumber=0x([0-9A-F]+)/i.exec(execFileSync('openssl', ['crl', '-inform', 'DER', '-noout', '-crlnumber'], { input: der, encoding: 'utf8' }))?.[1] ?? '',
    16,
  )
}

async function setBack(): Promise<void> {
  await site.service.stop()
  rmSync(join(site.data, 'postgres'), { recursive: true })
  cpSync(join(site.folder, 'older'), join(site.data, 'postgres'), { recursive: true })
}

beforeAll(async () => {
  await site.start()
  await site.enrolEverybody()
  oldKey = site.vkey
  witnessKey = initWitness(join(site.folder, 'w1'), 'witness.example/w1')
  addLog(join(site.folder, 'w1'), oldKey)
  witness = await startWitness(join(site.folder, 'w1'))
  writePolicy(oldKey)

  const order = site.newOrder(3)
  kept = { order, cards: await fill(order) }
  usim = new SimulatedCard(kept.cards[0] as OpenedCard)
  await authenticate(usim, kept.cards[0]?.iccid ?? '')
  await site.service.stop()
  cpSync(join(site.data, 'postgres'), join(site.folder, 'older'), { recursive: true })

  await site.start(withWitness())
  lost = site.newOrder(3)
  await fill(lost)
  lostSeqs = []
  for (let times = 0; times < 4; times += 1) lostSeqs.push((await authenticate(usim, kept.cards[0]?.iccid ?? '')).seq)
  const before = await crlNumber()
  revokedSerial = new X509Certificate(kept.cards[1]?.certificate ?? new Uint8Array()).serialNumber.toLowerCase().padStart(32, '0')
  await site.alice.client.post(`/v1/kms/certificates/${revokedSerial}/revoke`, { reason: 'keyCompromise' })
  lostCrl = await eventually('another CRL', async () => ((await crlNumber()) > before ? await crlNumber() : undefined))
  // The auditor takes a checkpoint home.
  await site.log()
  await site.service.stop()
  lostCheckpoint = join(site.folder, 'lost.checkpoint')
  copyFileSync(join(site.data, 'checkpoint'), lostCheckpoint)
}, 120_000)
afterAll(async () => {
  await (witness as WitnessProcess | undefined)?.kill()
  await site.close()
})

describe('a log of which entries are lost', () => {
  let told: { readonly lost: string; readonly range: string }

  it('is refused, and recovered from nothing by itself', async () => {
    expect(lostSeqs).toEqual([2, 3, 4, 5])
    await setBack()
    await expect(site.start(withWitness())).rejects.toThrow(/database-behind.*gridseal audit recover/s)
    const { code, stdout } = await gridseal('audit', 'recover')
    expect(code).toBe(0)
    const [, range = '', number = ''] = /Entries (\d+ to \d+) are lost: (\d+)\./.exec(stdout) ?? []
    expect(Number(number)).toBeGreaterThan(10)
    for (const where of ['the database', 'the checkpoint file', 'the token', 'the witness w1']) expect(stdout).toContain(`as ${where} says`)
    expect(stdout).toContain('Nothing was changed')
    told = { lost: number, range }
    await expect(site.start(withWitness())).rejects.toThrow('database-behind')
  })

  it('is recovered by who says what is lost, what cards were ordered, and has both PINs', async () => {
    const recover = ['audit', 'recover', '--accept-loss', told.lost, '--reason', 'a drill: the disks burned, and the standby with them']
    expect(await gridseal('audit', 'recover', '--accept-loss', '1', '--reason', 'x', '--nothing-ordered')).toMatchObject({
      code: 1,
      stderr: expect.stringContaining(`${told.lost} entries are lost`) as string,
    })
    expect((await gridseal(...recover.slice(0, 4))).stderr).toContain('--reason')
    expect((await gridseal(...recover)).stderr).toContain('Ask the vendors')
    expect((await gridseal(...recover, '--issued', '8986001')).stderr).toContain('19 or 20 digits')
    expect((await gridseal(...recover, '--nothing-ordered', '--iccid-margin', '5')).stderr).toContain('stands against')
    await expect(site.start(withWitness())).rejects.toThrow('database-behind')

    const issued = `${lost.start.iccid}-${nextIccid(lost.start.iccid, 2) ?? ''}`
    const { code, stdout, stderr } = await gridseal(...recover, '--issued', issued)
    expect(code, stderr).toBe(0)
    const newKey = /^gridseal\.example\/audit\/1\/\d{8}T\d{6}Z\+\S+$/m.exec(stdout)?.[0] ?? ''
    expect(stdout).toContain('add-log')
    site.replaced = [oldKey]
    site.vkey = newKey
  })

  it('goes on under another origin, which the witness takes as a new log', async () => {
    await expect(site.start(withWitness())).rejects.toThrow('this one is not among them')
    addLog(join(site.folder, 'w1'), site.vkey)
    writePolicy(site.vkey)
    expect(await gridseal('audit', 'recover')).toMatchObject({ code: 1, stderr: expect.stringContaining('nothing to recover from') as string })
    await site.start({ ...withWitness(), GRIDSEAL_WITNESSES_MUST_ANSWER: 'true' })
    expect(await toldKey()).toBe(site.vkey)
    await eventually('cosignatures again', async () =>
      (await (await fetch(`${site.service.plainUrl}/metrics`)).text()).includes('gridseal_witnesses_well 1') ? true : undefined,
    )
    expect(await readiness(site.service.plainUrl)).toMatchObject({ status: 200 })
  })

  it('names the gap in its entries, and to who holds a checkpoint over what is lost', async () => {
    const first = await site.log()
    expect(first.report.findings.map(({ code }) => code)).toEqual(['entries-lost'])
    expect(first.report.recoveries).toMatchObject([{ oldOrigin: 'gridseal.example/audit/1' }])
    const recovered = first.entries.filter(({ operation }) => operation === 'system.log-recovered')
    const [from, to] = told.range.split(' to ').map(Number)
    expect(recovered).toMatchObject([
      { kind: 'event', facts: { oldKey, newKey: site.vkey, logSize: from, lostSize: to, authorisation: 'none: both PINs', iccidRanges: 1 } },
    ])
    expect((await site.log()).report).toMatchObject({ ok: true, findings: [] })

    const log = join(site.folder, 'log.ndjson')
    const verify = ['audit', 'verify', log, '--key', oldKey, '--key', site.vkey]
    expect(await gridseal(...verify)).toMatchObject({
      code: 0,
      stdout: expect.stringContaining(`entries ${told.range} of gridseal.example/audit/1 are not in this log`) as string,
    })
    expect(await gridseal(...verify, '--known', lostCheckpoint)).toMatchObject({ code: 1, stdout: expect.stringContaining('entries-lost') as string })
    expect((await gridseal('audit', 'verify', log, '--key', site.vkey)).code).toBe(1)
  })

  it('issues nothing that may have been issued in the entries that are lost', async () => {
    const { code, detail } = await site.vendor.client
      .post<{ code: string; detail: string }>('/v1/card-personalization/orders', { ...lost, purchaseOrder: 'again' })
      .then(
        () => ({ code: 'taken', detail: '' }),
        (error: unknown) => error as { code: string; detail: string },
      )
    expect({ code, detail }).toMatchObject({ code: 'order-invalid', detail: expect.stringContaining('3 faults') as string })
    expect(await fill(site.newOrder(2))).toHaveLength(2)

    const iccid = kept.cards[0]?.iccid ?? ''
    const { seq, verdict } = await authenticate(usim, iccid)
    // The card takes it without AUTS: it is above all that it saw, and not too far.
    expect(verdict).toBe('authenticated')
    expect(seq).toBeGreaterThan(Math.max(...lostSeqs))
    expect((await authenticate(usim, iccid)).seq).toBe(seq + 1)
    const unused = new SimulatedCard(kept.cards[2] as OpenedCard)
    expect((await authenticate(unused, kept.cards[2]?.iccid ?? '')).seq).toBeGreaterThan(2 ** 20)

    await eventually('a CRL above what may have been issued', async () => ((await crlNumber()) > lostCrl + 1_000 ? true : undefined))
    // What was decided in that time is not decided any more, and can be again.
    await site.alice.client.post(`/v1/kms/certificates/${revokedSerial}/revoke`, { reason: 'keyCompromise' })
  })

  it('is whole: the database is what it says, and the next start goes on', async () => {
    await site.service.stop()
    expect(await gridseal('integrity', 'check')).toMatchObject({ code: 0 })
    await site.start(withWitness())
    expect((await site.log()).report).toMatchObject({ ok: true, findings: [] })
  })

  it('is refused again where the copy of before is put back once more, and recovered under an origin of its own', async () => {
    await setBack()
    writePolicy(oldKey)
    await expect(site.start(withWitness())).rejects.toThrow(/database-behind: the checkpoint file holds a checkpoint of gridseal\.example\/audit\/1\/\d+T\d+Z/)
    const { stdout, stderr } = await gridseal('audit', 'recover', '--accept-loss', told.lost, '--reason', 'the same drill', '--iccid-margin', '1000')
    const third = /^gridseal\.example\/audit\/1\/\d{8}T\d{6}Z\+\S+$/m.exec(stdout)?.[0] ?? stderr
    expect(third).not.toBe(site.vkey)
    expect(stdout).toContain('is of gridseal.example/audit/1/')
    site.vkey = third
    addLog(join(site.folder, 'w1'), third)
    writePolicy(third)
    await site.start(withWitness())
    const log = join(site.folder, 'third.ndjson')
    await eventually('a log that verifies and names its recovery', async () => {
      writeFileSync(log, await site.auditor.client.download('/v1/policies/audit/export'))
      const { code, stdout: report } = await gridseal('audit', 'verify', log, '--key', oldKey, '--key', third)
      return code === 0 && report.includes(`entries ${told.range} of gridseal.example/audit/1 are not in this log`) ? true : undefined
    })
    const behind = {
      ...kept.order,
      purchaseOrder: 'behind',
      start: { ...kept.order.start, iccid: nextIccid(kept.order.start.iccid, 3) ?? '', imsi: '460019999900000' },
    }
    await expect(site.submit(behind)).rejects.toMatchObject({ code: 'order-invalid' })
  })
})
