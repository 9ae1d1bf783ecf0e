import { constants, createDecipheriv, createPrivateKey, privateDecrypt, randomBytes } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { request } from 'node:https'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { TransportKeyPackage } from '../clients/vendor-open.ts'
import { waitForOrder } from '../clients/vendor.ts'
import { agentOf } from './testing/ask.ts'
import { CrashSite } from './testing/crash-site.ts'
import { type Finding, SecretScan } from './testing/secret-scan.ts'

/** What may lie where: README.md, admitted exceptions. All else may lie nowhere. */
const ADMITTED_IN_MEMORY: ReadonlySet<string> = new Set([
  'TLS key',
  'password owner',
  'password service',
  'password admin',
  'marker in a header',
  'marker in a label',
  'marker in a path',
])
const ADMITTED_FILES: Readonly<Record<string, string>> = {
  'user PIN': 'pins/user.pin',
  'officer PIN': 'pins/officer.pin',
  'TLS key': 'tls/key.pem',
  'password admin': 'postgres/admin.password',
  'password owner': 'postgres/owner.password',
  'password service': 'postgres/service.password',
}

const markers = { header: randomBytes(24).toString('hex'), label: randomBytes(24).toString('hex'), path: randomBytes(24).toString('hex') }
const scan = new SecretScan()
/** What is secret of a PKCS#8 of a P-256 key: all else of it is the same in each. */
const scalarIn = (pkcs8: Uint8Array): Buffer =>
  Buffer.from(createPrivateKey({ key: Buffer.from(pkcs8), format: 'der', type: 'pkcs8' }).export({ format: 'jwk' }).d ?? '', 'base64url')
let site: CrashSite
/** Holds a request open, so that its headers are in the service's memory for certain. */
let openRequest: ReturnType<typeof request> | undefined

beforeAll(async () => {
  site = await CrashSite.open()
  // The life that is looked at: token, ceremonies, filling, delivery, signing, refusals, all in one process.
  const { keyId } = await site.module.client.post<{ keyId: string }>('/v1/kms/keys', { label: markers.label, algorithm: 'hmac-sha256' })
  await site.module.client.post(`/v1/kms/keys/${keyId}/sign`, { items: [{ message: 'AAAA' }] })
  const orderId = await site.submit(site.newOrder(501))
  await site.approve(orderId)
  await waitForOrder(site.vendor, orderId)
  const { report, cards } = await site.open(orderId)
  if (!report.ok) throw new Error(JSON.stringify(report.problems))
  await site.module.client.get(`/v1/nothing/${markers.path}`).catch(() => undefined)

  for (const { iccid, keys } of cards) for (const { purpose, value } of keys) scan.add(`${purpose} of ${iccid}`, purpose === 'sign' ? scalarIn(value) : value)
  const { transport, mac } = openTransportKey(
    await site.vendor.client.get<TransportKeyPackage>(`/v1/card-personalization/transport-keys/${site.vendor.transportKeyId}`),
  )
  scan.add('transport key', transport).add('row-MAC key', mac)
  for (const [name, file] of Object.entries(ADMITTED_FILES)) scan.add(name, secretIn(join(site.data, file)))
  for (const [place, marker] of Object.entries(markers)) scan.add(`marker in a ${place}`, marker)
  openRequest = await holdRequest()
})
afterAll(async () => {
  openRequest?.destroy()
  await site.close()
})

/** As the vendor opens it. */
function openTransportKey({ encryptedKey, wrappedMacKey }: TransportKeyPackage): { readonly transport: Buffer; readonly mac: Buffer } {
  const transport = privateDecrypt(
    { key: site.vendor.encryptionKey, padding: constants.RSA_PKCS1_OAEP_PADDING, oaepHash: 'sha1' },
    Buffer.from(encryptedKey, 'base64'),
  )
  const decipher = createDecipheriv('id-aes256-wrap-pad', transport, Buffer.from('a65959a6', 'hex'))
  return { transport, mac: Buffer.concat([decipher.update(Buffer.from(wrappedMacKey, 'base64')), decipher.final()]) }
}

function secretIn(file: string): string | Buffer {
  const text = readFileSync(file, 'utf8').trim()
  // Of a private key its number alone: the rest of the file is no secret.
  return file.endsWith('.pem') ? Buffer.from(createPrivateKey(text).export({ format: 'jwk' }).d ?? '', 'base64url') : text
}

/** A request whose headers have come and whose body has not. */
async function holdRequest(): Promise<ReturnType<typeof request>> {
  const { url } = site.service
  const agent = agentOf({ url, trust: site.trust, certificate: site.module.certificate, key: site.module.key })
  const held = request(`${url}/v1/kms/keys`, {
    method: 'POST',
    agent,
    headers: { 'content-type': 'application/json', 'content-length': 100, 'x-marker': markers.header },
  })
  held.on('error', () => undefined)
  await new Promise<void>((resolve) => void held.write('{', () => resolve()))
  await site.module.client.get('/v1/kms/keys')
  return held
}

const namesIn = (found: readonly Finding[]): string[] => [...new Set(found.map(({ secret }) => secret))].sort()
const notAdmitted = (found: readonly Finding[], isAdmitted: (finding: Finding) => boolean): Finding[] =>
  found.filter((finding) => !isAdmitted(finding)).slice(0, 20)

describe('no PIN and no card key in clear', () => {
  it('in the memory of the service; the TLS key and what it was sent are found there', () => {
    const before = scan.scanned
    const found = scan.memory(site.service.pid)
    expect(scan.scanned - before).toBeGreaterThan(20_000_000)
    expect(notAdmitted(found, ({ secret }) => ADMITTED_IN_MEMORY.has(secret))).toEqual([])
    expect(namesIn(found)).toEqual(expect.arrayContaining(['TLS key', 'marker in a header', 'password service']))
  })

  it('in the memory of a lane, but the PIN that it logged in with', () => {
    const found = site.lanes.flatMap((pid) => scan.memory(pid))
    expect(notAdmitted(found, ({ secret }) => secret === 'user PIN' || secret.startsWith('marker'))).toEqual([])
  })

  it('in what the service said; a path that it was asked for is found there', () => {
    const found = site.said.flatMap((line, at) => scan.text(line, `line ${String(at + 1)}`))
    expect(namesIn(found)).toEqual(['marker in a path'])
  })

  it('in the files of the data folder but those that are named; each of these has its own', () => {
    const found = scan.folder(site.data)
    expect(
      notAdmitted(found, ({ secret, place }) => ADMITTED_FILES[secret] === place || (secret === 'marker in a label' && place.startsWith('postgres/cluster/'))),
    ).toEqual([])
    expect(namesIn(found)).toEqual([...Object.keys(ADMITTED_FILES), 'marker in a label'].sort())
  })

  it('in any row of the database; the label of a key is found there', async () => {
    const owner = await site.owner()
    const { rows: tables } = await owner.query<{ name: string }>(
      `SELECT quote_ident(relname) AS name FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p')`,
    )
    expect(tables.length).toBeGreaterThan(20)
    const found: Finding[] = []
    for (const { name } of tables) {
      const { rows } = await owner.query<{ row: string }>(`SELECT t::text AS row FROM ${name} t`)
      for (const { row } of rows) found.push(...scan.text(row, `table ${name}`))
    }
    await owner.end()
    expect(namesIn(found)).toEqual(['marker in a label'])
  })
})
