import { execFileSync, spawnSync } from 'node:child_process'
import { X509Certificate } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { createLocalJWKSet, type JSONWebKeySet, jwtVerify } from 'jose'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { ApiProblem } from '../clients/api.ts'
import { SimulatedCard } from '../clients/simulated-card.ts'
import type { OpenedCard } from '../clients/vendor-open.ts'
import { waitForOrder } from '../clients/vendor.ts'
import { luhnDigit } from '../core/iccid.ts'
import { CrashSite } from './testing/crash-site.ts'
import { eventually } from './testing/processes.ts'

const METER = { imei: '26053179311383', udid: '0198f2c1-7a40-7c3e-9d52-6a1f0b2c3d4e' }
const PATH = '/v1/attestation'

let site: CrashSite
let cards: readonly OpenedCard[]
beforeAll(async () => {
  site = await CrashSite.open()
  const order = site.newOrder(5)
  const orderId = await site.submit(order)
  await site.approve(orderId)
  await waitForOrder(site.vendor, orderId)
  ;({ cards } = await site.open(orderId))
})
afterAll(() => site.close())

const file = (name: string, content: string | Uint8Array): string => {
  writeFileSync(join(site.folder, name), content)
  return join(site.folder, name)
}
const at = (index: number): OpenedCard => {
  const card = cards[index]
  if (card === undefined) throw new Error('there is no such card')
  return card
}
const plain = async (path: string): Promise<Buffer> => Buffer.from(await (await fetch(`${site.service.plainUrl}${path}`)).arrayBuffer())

interface Challenge {
  readonly challengeId: string
  readonly nonce: string
  readonly verifier: string
}
interface Verdict {
  readonly verdict: string
  readonly reason?: string
  readonly reasons?: readonly string[]
  readonly result: string
}
const challenge = (iccid: string, method: string): Promise<Challenge> => site.module.client.post<Challenge>(`${PATH}/cards/${iccid}/challenge`, { method })
const answer = (iccid: string, body: object): Promise<Verdict> => site.module.client.post<Verdict>(`${PATH}/cards/${iccid}/answer`, body)
const decode = (text: string): Buffer => Buffer.from(text, 'base64url')

async function signed(card: OpenedCard): Promise<Verdict> {
  const { challengeId, nonce, verifier } = await challenge(card.iccid, 'signature')
  return answer(card.iccid, { challengeId, signature: Buffer.from(new SimulatedCard(card).sign({ nonce: decode(nonce), verifier })).toString('base64url') })
}
async function evidenceOf(card: OpenedCard, device: { imei: string; udid: string } = METER): Promise<{ readonly bytes: Uint8Array; readonly nonce: string }> {
  const { nonce } = await challenge(card.iccid, 'evidence')
  return { bytes: new SimulatedCard(card).evidence({ nonce: decode(nonce), issuedAt: Math.floor(Date.now() / 1000), ...device }), nonce }
}
const submit = (path: string, bytes: Uint8Array): Promise<Verdict> =>
  site.module.client.post<Verdict>(`${PATH}/${path}`, { evidence: Buffer.from(bytes).toString('base64') })
const refused = async (work: Promise<unknown>): Promise<{ readonly status: number; readonly code: string }> => {
  const error = await work.then(
    () => undefined,
    (thrown: unknown) => thrown,
  )
  if (!(error instanceof ApiProblem)) throw new Error('it was not refused by a problem', { cause: error })
  return { status: error.status, code: error.code }
}

describe('certificates of cards, as OpenSSL sees them', () => {
  const verify = async (card: OpenedCard): Promise<string> => {
    const leaf = file('card.pem', new X509Certificate(card.certificate ?? new Uint8Array()).toString())
    const crls = await Promise.all(['root', 'cards'].map((name) => plain(`/crl/${name}.crl`)))
    const pems = crls.map((der) => execFileSync('openssl', ['crl', '-inform', 'DER'], { input: der, encoding: 'utf8' }))
    const args = ['-x509_strict', '-crl_check_all', '-CAfile', file('root.pem', site.trust), '-CRLfile', file('crls.pem', pems.join(''))]
    const { stdout, stderr } = spawnSync('openssl', ['verify', ...args, '-untrusted', file('chain.pem', await plain('/ca/cards.pem')), leaf], {
      encoding: 'utf8',
    })
    return `${stdout}${stderr}`
  }

  it('they verify with the CRLs that are served; a revoked one does not, and its card is refused', async () => {
    await eventually('the first CRLs', async () => ((await fetch(`${site.service.plainUrl}/crl/cards.crl`)).status === 200 ? true : undefined))
    expect(await verify(at(0))).toMatch(/: OK\n$/)
    expect(await signed(at(0))).toMatchObject({ verdict: 'authenticated' })

    const serial = new X509Certificate(at(0).certificate ?? new Uint8Array()).serialNumber.toLowerCase()
    await site.officers[0]?.client.post(`/v1/kms/certificates/${serial}/revoke`, { reason: 'keyCompromise' })
    expect(await signed(at(0))).toMatchObject({ verdict: 'refused', reason: 'certificate-revoked' })
    expect(await submit('evidence', (await evidenceOf(at(0))).bytes)).toMatchObject({ verdict: 'contraindicated', reasons: ['certificate-revoked'] })
    await eventually('the revocation to stand in the CRL', async () => ((await verify(at(0))).includes('certificate revoked') ? true : undefined))
    expect(await verify(at(1))).toMatch(/: OK\n$/)
  })
})

describe('results, as others read them', () => {
  it('jose and `gridseal attest verify` accept a result with the key set alone, and refuse one that was changed', async () => {
    const { bytes, nonce } = await evidenceOf(at(1))
    const { verdict, result } = await submit('bindings', bytes)
    expect(verdict).toBe('bound')
    const keySet = JSON.parse((await plain('/.well-known/jwks.json')).toString('utf8')) as JSONWebKeySet
    const { payload } = await jwtVerify(result, createLocalJWKSet(keySet), { algorithms: ['ES256'] })
    expect(payload).toMatchObject({ eat_profile: 'tag:ietf.org,2026:rats/ear#03', submods: { card: { ear_status: 'affirming', eat_nonce: nonce } } })
    expect(Number(payload.exp) - Number(payload.iat)).toBeLessThanOrEqual(3600)
    expect(JSON.stringify(payload)).not.toContain(at(1).iccid)

    const keys = file('jwks.json', JSON.stringify(keySet))
    const cli = (token: string, ...more: string[]): { status: number | null; said: string } => {
      const args = ['--import', 'tsx', 'server/cli/gridseal.ts', 'attest', 'verify', file('result.jwt', token), '--keys', keys, ...more]
      const { status, stdout, stderr } = spawnSync(process.execPath, args, { encoding: 'utf8' })
      return { status, said: `${stdout}${stderr}` }
    }
    expect(cli(result, '--nonce', nonce)).toMatchObject({ status: 0, said: expect.stringContaining('affirming') as string })
    const [head, body = '', signature] = result.split('.')
    const changed = Buffer.from(decode(body).toString('utf8').replace('affirming', 'warning')).toString('base64url')
    expect(cli([head, changed, signature].join('.')).status).toBe(1)
    await expect(jwtVerify([head, changed, signature].join('.'), createLocalJWKSet(keySet))).rejects.toThrow('signature verification failed')
    expect(cli(result, '--nonce', 'A'.repeat(43)).status).toBe(1)
    expect(cli(result, '--at', '2031-01-01T00:00:00Z').status).toBe(1)
  })

  it('the key set is the same on both listeners, without a certificate', async () => {
    expect((await plain('/.well-known/jwks.json')).toString('utf8')).toBe(
      execFileSync('curl', ['-s', '--cacert', file('root.pem', site.trust), `${site.service.url}/.well-known/jwks.json`], { encoding: 'utf8' }),
    )
  })
})

describe('a batch', () => {
  it('of challenges and evidence is answered in its order, with results that jose accepts', async () => {
    const unknown = `8986009999999999998${luhnDigit('8986009999999999998')}`
    const asked = [at(1), at(0), at(4), at(2)]
    const made = await site.module.client.post<{ readonly expiresAt: string; readonly verifier: string; readonly challenges: readonly Challenge[] }>(
      `${PATH}/challenges`,
      { iccids: [...asked.map(({ iccid }) => iccid), unknown] },
    )
    expect(made.verifier).toBe((await challenge(at(1).iccid, 'evidence')).verifier)
    const evidence = made.challenges.map(({ nonce }, index) =>
      Buffer.from(new SimulatedCard(asked[index] ?? at(3)).evidence({ nonce: decode(nonce), issuedAt: Math.floor(Date.now() / 1000), ...METER })).toString(
        'base64',
      ),
    )
    const broken = Buffer.from('not CBOR').toString('base64')
    const { results } = await site.module.client.post<{
      readonly results: readonly (Verdict & { readonly binding: string; readonly problem?: { readonly code: string; readonly detail: string } })[]
    }>(`${PATH}/evidence/batch`, { evidence: [...evidence, broken, evidence[0]] })
    expect(results.map(({ verdict, reasons, problem }) => problem?.code ?? [verdict, ...(reasons ?? [])])).toEqual([
      ['affirming'],
      ['contraindicated', 'certificate-revoked'],
      ['contraindicated', 'binding-contradicted'],
      ['contraindicated', 'binding-contradicted'],
      ['contraindicated', 'evidence-signature'],
      'request-invalid',
      'conflict',
    ])
    const keySet = createLocalJWKSet(JSON.parse((await plain('/.well-known/jwks.json')).toString('utf8')) as JSONWebKeySet)
    for (const [index, { result, verdict }] of results.slice(0, 5).entries()) {
      const { payload } = await jwtVerify(result, keySet, { algorithms: ['ES256'] })
      expect(payload).toMatchObject({ submods: { card: { ear_status: verdict, eat_nonce: made.challenges[index]?.nonce } } })
    }
    expect(JSON.stringify(results)).not.toContain(at(1).iccid)
  })

  it('that 16 send at once is evaluated once', async () => {
    const iccids = [1, 2, 3, 4].map((index) => at(index).iccid)
    const { challenges } = await site.module.client.post<{ readonly challenges: readonly Challenge[] }>(`${PATH}/challenges`, { iccids })
    const evidence = challenges.map(({ nonce }, index) =>
      Buffer.from(new SimulatedCard(at(index + 1)).evidence({ nonce: decode(nonce), issuedAt: Math.floor(Date.now() / 1000), ...METER })).toString('base64'),
    )
    const answers = await Promise.all(
      Array.from({ length: 16 }, () => site.module.client.post<{ readonly results: readonly Partial<Verdict>[] }>(`${PATH}/evidence/batch`, { evidence })),
    )
    expect(answers.flatMap(({ results }) => results).filter(({ verdict }) => verdict !== undefined)).toHaveLength(4)
  })
})

describe('bad input', () => {
  it('evidence that is deep, not deterministic, too long, of another form or no CBOR is refused, and spends nothing', async () => {
    const { bytes } = await evidenceOf(at(2))
    const trailing = Buffer.concat([bytes, Buffer.of(0)])
    for (const [what, hostile] of [
      ['3,000 arrays in each other', Buffer.alloc(3000, 0x81)],
      ['bytes behind it', trailing],
      ['nothing of it', Buffer.from('f6', 'hex')],
      ['an endless map', Buffer.from('bf', 'hex')],
    ] as const) {
      expect(await refused(submit('evidence', hostile)), what).toMatchObject({ status: 400, code: 'request-invalid' })
    }
    expect(await refused(submit('evidence', Buffer.alloc(100_000, 0x81)))).toMatchObject({ status: 400 })
    expect(await submit('evidence', bytes)).toMatchObject({ verdict: 'contraindicated', reasons: ['binding-contradicted'] })
    expect(await refused(submit('evidence', bytes)), 'the same once more').toMatchObject({ status: 409, code: 'conflict' })
  })

  it('an authentication is no evidence, another caller’s challenge is not there, and an IMEI is checked', async () => {
    const card = new SimulatedCard(at(3))
    const { challengeId, nonce, verifier } = await challenge(at(3).iccid, 'evidence')
    const signature = Buffer.from(card.sign({ nonce: decode(nonce), verifier })).toString('base64url')
    expect(await refused(answer(at(3).iccid, { challengeId, signature }))).toMatchObject({ status: 409 })
    const forSignature = await challenge(at(3).iccid, 'signature')
    const evidence = card.evidence({ nonce: decode(forSignature.nonce), issuedAt: Math.floor(Date.now() / 1000), ...METER })
    expect(await refused(submit('bindings', evidence))).toMatchObject({ status: 409 })
    expect(await refused(answer(at(3).iccid, { challengeId: 'A'.repeat(43), signature }))).toMatchObject({ status: 404 })
    for (const imei of ['260531793113838', '2605317931138', '26053179311383x']) {
      expect(await refused(site.module.client.get(`${PATH}/bindings?imei=${imei}`)), imei).toMatchObject({ status: 400, code: 'request-invalid' })
    }
  })

  it('64 send the same answer at once: one is evaluated', async () => {
    const { challengeId, nonce, verifier } = await challenge(at(3).iccid, 'cmac')
    const mac = Buffer.from(await new SimulatedCard(at(3)).mac({ nonce: decode(nonce), verifier })).toString('base64url')
    const ended = await Promise.allSettled(Array.from({ length: 64 }, () => answer(at(3).iccid, { challengeId, mac })))
    expect(ended.filter(({ status }) => status === 'fulfilled')).toHaveLength(1)
  })

  it('a card that is not known is challenged and refused as one with a wrong answer', async () => {
    const unknown = `8986009999999999999${luhnDigit('8986009999999999999')}`
    for (const [method, wrong] of [
      ['cmac', { mac: 'A'.repeat(22) }],
      ['milenage', { res: 'A'.repeat(11) }],
      ['signature', { signature: 'A'.repeat(86) }],
    ] as const) {
      const told = await Promise.all(
        [unknown, at(4).iccid].map(async (iccid) => {
          const asked = await challenge(iccid, method)
          const { verdict, reason } = await answer(iccid, { challengeId: asked.challengeId, ...wrong })
          return { fields: Object.keys(asked), verdict, reason }
        }),
      )
      expect(told[0], method).toEqual(told[1])
      expect(told[0]?.verdict).toBe('refused')
    }
  })
})

describe('the log', () => {
  it('names no ICCID, IMEI or UDID', async () => {
    const { report, entries } = await site.log()
    expect(report.findings).toEqual([])
    const text = JSON.stringify(entries.filter(({ operation }) => operation.startsWith('attestation.')))
    expect(text).toContain('attestation.binding.bind')
    for (const personal of [at(1).iccid, METER.imei, METER.udid]) expect(text).not.toContain(personal)
  })
})
