import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { ApiClient } from '../api.ts'
import { describeProof, verifyEntryProof } from '../audit-proof.ts'
import { describeReport, verifyExportedLog } from '../audit-verify.ts'
import { exampleFiling, fileAdmission } from '../admission.ts'
import { enrol, enrolFirstOfficers, type Participant, register, type Service, startService } from '../site.ts'
import { SimulatedCard } from '../simulated-card.ts'
import { type OpenedCard, openDelivery, type TransportKeyPackage } from '../vendor-open.ts'
import { enrolVendor, waitForOrder } from '../vendor.ts'
import { makeEncryptionCertificate } from '../csr.ts'
import { authenticateCards, bindCards } from './cards.ts'
import { Story } from './story.ts'

const USAGE = `usage: npm run demo [-- --keep]

Runs the main job on this machine, on free loopback ports and in a folder of its own (data/demo, made anew each time):
two officers, a vendor, a module, an auditor; an order of 1,000 cards, approved, filled, certified, delivered, opened; cards that prove themselves and are bound to a meter, and a clone; refusals; the log verified.

  --keep   leave the service running at the end, to try things by hand`

const CARDS = '/v1/card-personalization'
const MARK = 'made-by-the-demo'

const options = process.argv.slice(2)
if (options.some((option) => option !== '--keep')) {
  console.log(USAGE)
  process.exit(options.includes('--help') ? 0 : 2)
}
const story = new Story(process.stdout)
const folder = story.orEnd(() => newFolder(resolve(process.env['GRIDSEAL_DATA'] ?? 'data', 'demo')))
const settings = { data: join(folder, 'data'), onLog: story.keepLog }
let service: Service | undefined
let isDone = false
try {
  service = await story.step(
    'The service starts: PostgreSQL, SoftHSM2 token, root keys, CAs',
    () => startService(settings),
    ({ url }) => url,
  )
  await demo(service)
  isDone = true
} catch (error) {
  story.fail(error)
  process.exitCode = 1
}
if (service !== undefined && !(isDone && options.includes('--keep'))) await service.stop()
if (isDone && options.includes('--keep') && service !== undefined) {
  writeFileSync(join(folder, MARK), String(service.pid))
  story.say(`The service goes on at ${service.url} (pid ${String(service.pid)}). Its log is not kept. Stop it with: kill ${String(service.pid)}`)
  service.process.unref()
  service.process.stdout?.destroy()
  service.process.stderr?.destroy()
}
process.exit()

/** Every step uses the real API over mutual TLS. */
async function demo(running: Service): Promise<void> {
  const people = join(folder, 'people')
  const { officers, trust } = await story.step(
    'gridseal init enrols the first two officers, and burns itself',
    () => enrolFirstOfficers(running, settings, people, ['alice', 'bob']),
    () => 'alice and bob',
  )
  const [alice, bob] = officers
  if (alice === undefined || bob === undefined) throw new Error('two officers were to be enrolled')
  await story.refused('a third officer by the same way', 1, () => enrolFirstOfficers(running, settings, people, ['carol', 'dave']))
  const place = { url: running.url, trust }

  const vendor = await story.step(
    'A vendor is enrolled, and admitted by both officers; both confirm its encryption certificate; a transport key is made by ceremony',
    () => enrolVendor({ site: { service: running, trust, officers }, name: 'acme-cards' }),
    ({ transportKeyId }) => transportKeyId,
  )
  const { module, auditor } = await story.step(
    'A module and an auditor are enrolled',
    async () => ({
      module: await register(alice, place, { kind: 'module', name: 'billing' }),
      auditor: await enrol(bob, place, { kind: 'auditor', name: 'ann' }),
    }),
    () => 'billing, ann',
  )
  await story.refused('the module, which has a certificate and no admission', 403, () => module.client.get('/v1/kms/keys'))
  await story.step(
    'Its business licence, the persons behind it and its security assessment are filed; a second officer approves',
    () => fileAdmission([alice, bob], module.callerId, exampleFiling('billing')),
    () => 'admitted for a year',
  )
  // Who was looked up is remembered for a second.
  await sleep(1100)

  const order = readFileSync(exampleOrder(), 'utf8')
  story.reach('order')
  const { orderId } = await story.step(
    'The vendor submits examples/grid-usim-1000.inp',
    () => vendor.client.postText<{ orderId: string }>(`${CARDS}/orders`, order),
    (answer) => `order ${answer.orderId}`,
  )
  await story.refused('the same ICCIDs, ordered once more', 422, () =>
    vendor.client.postText(`${CARDS}/orders`, order.replace(/BATCH:.*/, 'BATCH:           7654321')),
  )
  await story.refused('the vendor, approving its own order', 403, () => vendor.client.post(`${CARDS}/orders/${orderId}/approve`))
  await alice.client.post(`${CARDS}/orders/${orderId}/approve`)
  const fill = await story.progress('An officer approves, and the HSM makes the keys of', (advance) =>
    waitForOrder(vendor, orderId, { onProgress: ({ filled, quantity }) => advance(filled, quantity) }),
  )

  const delivery = await story.step(
    'The vendor fetches the delivery',
    () => vendor.client.download(`${CARDS}/orders/${orderId}/delivery`),
    (bytes) => `${(bytes.length / 1024).toFixed(0)} KiB`,
  )
  const transportKey = await vendor.client.get<TransportKeyPackage>(`${CARDS}/transport-keys/${vendor.transportKeyId}`)
  const opening = { transportKey, privateKey: vendor.encryptionKey, trustedRoot: trust, order: orderId }
  writeFileSync(join(folder, 'delivery.ndjson'), delivery)
  writeFileSync(join(folder, 'transport-key.json'), JSON.stringify(transportKey, null, 2))
  writeFileSync(join(folder, 'acme-cards.encryption.key.pem'), vendor.encryptionKey, { mode: 0o600 })
  const cards: SimulatedCard[] = []
  const keepCards = (card: OpenedCard): void => {
    if (cards.length < 4) cards.push(new SimulatedCard(card))
  }
  const opened = await story.step(
    '... and opens it: signature, digest, counts, row MACs, every key unwrapped, every KCV compared, every certificate checked',
    async () => {
      const report = await openDelivery({ ...opening, file: [delivery], onCard: keepCards })
      if (!report.ok) throw new Error(`the delivery does not check: ${JSON.stringify(report.problems)}`)
      return report
    },
    ({ cards: all, keys }) => `${all.toLocaleString('en')} cards, ${keys.toLocaleString('en')} keys`,
  )
  await story.step(
    'A delivery with two rows’ keys swapped is caught',
    async () => {
      const report = await openDelivery({ ...opening, file: [swapRows(delivery)] })
      if (report.ok) throw new Error('the swapped delivery was accepted')
      return report
    },
    ({ problems }) => problems[0]?.message ?? '',
  )

  await authenticateCards({ story, module, cards })
  await bindCards({ story, folder, plainUrl: running.plainUrl, module, cards })
  await signAndVerify(module)
  await refusals({ running, trust, alice, module, auditor })

  const log = await story.step(
    'The auditor exports the log',
    () => auditor.client.download('/v1/policies/audit/export'),
    (bytes) => `${(bytes.length / 1024).toFixed(0)} KiB`,
  )
  const file = join(folder, 'audit-log.ndjson')
  writeFileSync(file, log)
  const vkey = (await (await fetch(`${running.plainUrl}/audit/key`)).text()).trim()
  const report = await story.step(
    '... and verifies it offline, with the log’s public key alone',
    async () => {
      const found = await verifyExportedLog({ path: file, vkey })
      if (!found.ok) throw new Error(describeReport(found))
      return found
    },
    ({ size, checkpoints }) => `${size.toLocaleString('en')} entries, ${String(checkpoints)} checkpoints`,
  )
  await story.step(
    'The auditor takes the proof of one entry, the order’s approval, and checks it offline',
    () => proveApproval(auditor, vkey),
    ({ index, size }) => `entry ${index.toLocaleString('en')} of ${size.toLocaleString('en')}`,
  )
  story.end({ cards: opened.cards, fillMs: fill, entries: report.size, folder, vkey })
}

interface Proven {
  readonly bytes: string
  readonly proof: string
}

/** The last entry of the approval is its outcome. Entry and proof are left in the folder. */
async function proveApproval(auditor: Participant, vkey: string): Promise<{ index: number; size: number }> {
  const found = await auditor.client.get<{ entries: { entry: { id: string } }[] }>(
    '/v1/policies/audit/entries?operation=card-personalization.order.approve&code=ok&limit=1',
  )
  const { entries } = await auditor.client.get<{ entries: Proven[] }>(`/v1/policies/audit/operations/${found.entries[0]?.entry.id ?? ''}/proof`)
  const { bytes, proof } = entries.at(-1) ?? { bytes: '', proof: '' }
  const entry = Buffer.from(bytes, 'base64')
  writeFileSync(join(folder, 'approval.json'), entry)
  writeFileSync(join(folder, 'approval.tlog-proof'), proof)
  const report = verifyEntryProof({ bytes: entry, proof, vkey })
  if (!report.ok) throw new Error(describeProof(report))
  if (verifyEntryProof({ bytes: Buffer.from(entry.toString().replace('"code":"ok"', '"code":"no"')), proof, vkey }).ok)
    throw new Error('a changed entry was proven')
  return report
}

async function signAndVerify(module: Participant): Promise<void> {
  const { keyId } = await module.client.post<{ keyId: string }>('/v1/kms/keys', { label: 'meter-readings', algorithm: 'ec-p256' })
  const messages = Array.from({ length: 256 }, (_, at) => ({ message: Buffer.from(`meter ${String(at)}: 12.345 kWh`).toString('base64') }))
  const start = performance.now()
  await story.step(
    'The module signs 256 readings with a key that never leaves the HSM in clear, and verifies them',
    async () => {
      const { signatures } = await module.client.post<{ signatures: { signature: string }[] }>(`/v1/kms/keys/${keyId}/sign`, { items: messages })
      const items = messages.map(({ message }, at) => ({ message, signature: signatures[at]?.signature ?? '' }))
      const { results } = await module.client.post<{ results: { valid: boolean }[] }>(`/v1/kms/keys/${keyId}/verify`, { items })
      if (!results.every(({ valid }) => valid)) throw new Error('a signature did not verify')
      const forged = items.map(({ signature }) => ({ message: Buffer.from('meter 0: 0.001 kWh').toString('base64'), signature }))
      const checked = await module.client.post<{ results: { valid: boolean }[] }>(`/v1/kms/keys/${keyId}/verify`, { items: forged })
      if (checked.results.some(({ valid }) => valid)) throw new Error('a forged reading verified')
    },
    () => `${(256 / ((performance.now() - start) / 1000)).toFixed(0)}/s there and back; a forged reading is not valid`,
  )
}

async function refusals({
  running,
  trust,
  alice,
  module,
  auditor,
}: {
  running: Service
  trust: string
  alice: Participant
  module: Participant
  auditor: Participant
}): Promise<void> {
  const nobody = new ApiClient({ url: running.url, trust })
  await story.refused('somebody without a certificate', 401, () => nobody.get('/v1/kms/keys'))
  const own = await makeEncryptionCertificate('mallory')
  const stranger = new ApiClient({ url: running.url, trust, certificate: own.certificate, key: own.privateKey })
  await story.refused('an unknown vendor with a certificate of its own making', 401, () => stranger.get(`${CARDS}/orders`))
  await story.refused('an auditor, making a key', 403, () => auditor.client.post('/v1/kms/keys', { label: 'x', algorithm: 'ec-p256' }))
  await alice.client.post(`/v1/policies/callers/${module.callerId}/revoke`)
  const revokedAt = performance.now()
  await story.refused('the module, revoked, on its open connection', 401, async () => {
    while (performance.now() - revokedAt < 5000) await module.client.get('/v1/kms/keys')
  })
  nobody.close()
  stranger.close()
}

/** The rows of a delivery with the keys of the first two cards exchanged: what every text format of the trade lets pass. */
function swapRows(delivery: Buffer): Buffer {
  const lines = delivery.toString('utf8').split('\n')
  const [first, second] = [1, 2].map((at) => JSON.parse(lines[at] ?? '{}') as { keys: unknown })
  lines[1] = JSON.stringify({ ...first, keys: second?.keys })
  lines[2] = JSON.stringify({ ...second, keys: first?.keys })
  return Buffer.from(lines.join('\n'))
}

/** The demo's own folder, made anew. One that the demo did not make, or that a service still uses, is left alone. */
function newFolder(path: string): string {
  if (existsSync(path)) {
    if (!existsSync(join(path, MARK))) throw new Error(`${path} is not the demo's: move it away, or set GRIDSEAL_DATA`)
    const kept = Number(readFileSync(join(path, MARK), 'utf8'))
    if (kept > 0 && existsSync(`/proc/${String(kept)}`)) throw new Error(`the service of an earlier demo still runs there. Stop it first: kill ${String(kept)}`)
    rmSync(path, { recursive: true })
  }
  mkdirSync(path, { recursive: true, mode: 0o700 })
  writeFileSync(join(path, MARK), '')
  return path
}

function exampleOrder(): URL {
  const beside = new URL('../../examples/grid-usim-1000.inp', import.meta.url)
  return existsSync(beside) ? beside : new URL('../../../examples/grid-usim-1000.inp', import.meta.url)
}
