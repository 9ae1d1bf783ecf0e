import { createCipheriv, createSign, generateKeyPairSync, type KeyObject, publicEncrypt, randomBytes, constants, sign } from 'node:crypto'
import { beforeAll, describe, expect, it } from 'vitest'
import { makeDeliveryChain, makeEncryptionPair } from '../card-personalization/testing/certificates.ts'
import { DELIVERY_FORMAT, DELIVERY_TYPE, type DeliveryManifest, encodeDeliveryLine } from '../card-personalization/delivery.ts'
import { documentToSign, signedDocument } from '../core/signed-document.ts'
import { type CardKey, encodeCardKeys, rowMacInput } from '../card-personalization/delivery-row.ts'
import { luhnDigit } from '../core/iccid.ts'
import { base64, fromHex, hex, sha256, utf8 } from '../core/bytes.ts'
import { aesCmacKey, checkValue } from './cmac.ts'
import { type DeliveryReport, type DeliveryToOpen, openDelivery, type OpenedCard, type TransportKeyPackage } from './vendor-open.ts'

const ORDER = '01936a5e-3c00-7000-8000-000000000001'
const OTHER_ORDER = '01936a5e-3c00-7000-8000-000000000002'
const MAC_KEY = 'row-mac:01936a5e-3c00-7000-8000-000000000004'

const wrap = (key: Uint8Array, value: Uint8Array): Uint8Array => {
  const cipher = createCipheriv('id-aes256-wrap-pad', key, fromHex('a65959a6'))
  return Buffer.concat([cipher.update(value), cipher.final()])
}

const kcvOf = async (method: string, key: Uint8Array): Promise<Uint8Array> => (await checkValue(method, key)) ?? new Uint8Array()

interface Line {
  iccid: string
  imsi: string
  keys: { purpose: string; keyVersion: number; kcvMethod: string; kcv: string; wrapped: string }[]
  mac: string
}

/** The service's side, in software: the same definitions, keys that the test knows. */
class Maker {
  readonly transport = randomBytes(32)
  readonly mac = randomBytes(32)
  readonly values = new Map<string, string>()
  readonly signer: KeyObject
  readonly root: Uint8Array
  readonly chain: readonly Uint8Array[]
  readonly vendor = makeEncryptionPair()
  readonly transportKeyId = 'transport:01936a5e-3c00-7000-8000-000000000003'

  constructor() {
    const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
    this.signer = privateKey
    ;({ root: this.root, chain: this.chain } = makeDeliveryChain(publicKey.export({ format: 'der', type: 'spki' })))
  }

  async package(): Promise<TransportKeyPackage> {
    const recipient = { key: this.vendor.pem, padding: constants.RSA_PKCS1_OAEP_PADDING, oaepHash: 'sha1' }
    const kcv = async (key: Uint8Array): Promise<{ method: string; value: string }> => ({ method: 'aes-cmac', value: hex(await kcvOf('aes-cmac', key)) })
    return {
      ...{ transportKeyId: this.transportKeyId, encryptedKey: base64(publicEncrypt(recipient, this.transport)), kcv: await kcv(this.transport) },
      ...{ macKeyId: MAC_KEY, wrappedMacKey: base64(wrap(this.transport, this.mac)), macKcv: await kcv(this.mac) },
    }
  }

  async lines(orderId: string, from: number, count: number): Promise<string[]> {
    const mac = await aesCmacKey(this.mac)
    const lines: string[] = []
    for (let at = from; at < from + count; at++) {
      const body = `898600990000${String(at).padStart(7, '0')}`
      const card = { iccid: body + luhnDigit(body), imsi: String(460009900000000 + at) }
      const keys: CardKey[] = []
      for (const [purpose, keyVersion, method] of [
        ['ki', 1, 'aes-cmac'],
        ['gp-enc', 0x30, 'aes-gp'],
      ] as const) {
        const value = randomBytes(16)
        this.values.set(`${card.iccid} ${purpose}`, hex(value))
        keys.push({ purpose, keyVersion, kcv: { method, value: await kcvOf(method, value) }, wrapped: wrap(this.transport, value) })
      }
      const context = { orderId, transportKeyId: this.transportKeyId, profile: 'grid-usim-1', ...card }
      lines.push(encodeDeliveryLine({ ...card, keys, mac: await mac.sign(rowMacInput(context, encodeCardKeys(keys))), certificate: undefined }))
    }
    return lines
  }

  /** Line 1 over these lines. A re-signed forgery is one with `manifest` or a signer of its own. */
  head(lines: readonly string[], manifest: Partial<DeliveryManifest> = {}, signer: KeyObject = this.signer, chain = this.chain): string {
    const iccidOf = (line: string | undefined): string => (JSON.parse(line ?? '{}') as Line).iccid
    const input = documentToSign(
      DELIVERY_TYPE,
      {
        ...{ format: DELIVERY_FORMAT, order: ORDER, vendor: 'acme-cards', profile: 'grid-usim-1', transportKeyId: this.transportKeyId, macKeyId: MAC_KEY },
        ...{ cards: lines.length, keysPerCard: 2, firstIccid: iccidOf(lines[0]), lastIccid: iccidOf(lines.at(-1)), sha256: hex(sha256(utf8(lines.join('')))) },
        ...{ created: new Date().toISOString(), ...manifest },
      },
      chain,
    )
    return `${signedDocument(input, sign('sha256', utf8(input), { key: signer, dsaEncoding: 'ieee-p1363' }))}\n`
  }
}

let maker: Maker
let good: { readonly head: string; readonly lines: readonly string[] }
let transportKey: TransportKeyPackage

beforeAll(async () => {
  maker = new Maker()
  transportKey = await maker.package()
  const lines = await maker.lines(ORDER, 100, 20)
  good = { head: maker.head(lines), lines }
})

const open = (text: string, options: Partial<DeliveryToOpen> = {}): Promise<DeliveryReport> =>
  openDelivery({ file: [utf8(text)], transportKey, privateKey: maker.vendor.privateKey, trustedRoot: maker.root, ...options })
const edited = (line: string | undefined, edit: (line: Line) => void): string => {
  const parsed = JSON.parse(line ?? '') as Line
  edit(parsed)
  return `${JSON.stringify(parsed)}\n`
}
const told = ({ problems }: DeliveryReport): string => problems.map(({ line, iccid, message }) => `${line} ${iccid ?? ''} ${message}`).join('\n')

describe('a delivery', () => {
  it('opens: every key comes out as it went in', async () => {
    const cards: OpenedCard[] = []
    const report = await open(good.head + good.lines.join(''), { order: ORDER, onCard: (card) => void cards.push(card) })
    expect(told(report)).toBe('')
    expect(report).toMatchObject({ ok: true, cards: 20, keys: 40 })
    expect(cards.flatMap(({ iccid, keys }) => keys.map(({ purpose, value }) => maker.values.get(`${iccid} ${purpose}`) === hex(value)))).toEqual(
      Array(40).fill(true),
    )
  })

  it('opens whatever the pieces it comes in', async () => {
    const bytes = utf8(good.head + good.lines.join(''))
    for (const size of [1, 7, 4096]) {
      const pieces = Array.from({ length: Math.ceil(bytes.length / size) }, (_, at) => bytes.subarray(at * size, (at + 1) * size))
      expect((await open('', { file: pieces })).ok).toBe(true)
    }
  })
})

describe('a tampered delivery is caught', () => {
  /** The same change twice: in the file as signed, and signed again by someone who has the delivery key but not the row-MAC key. */
  const changes: readonly (readonly [string, (lines: string[]) => void, RegExp])[] = [
    [
      'keys swapped between two rows',
      (lines) => {
        const [a, b] = [JSON.parse(lines[3] ?? '') as Line, JSON.parse(lines[7] ?? '') as Line]
        lines[3] = edited(lines[3], (line) => (line.keys = b.keys))
        lines[7] = edited(lines[7], (line) => (line.keys = a.keys))
      },
      /^5 \d+ the MAC of the row is wrong[^]*^9 \d+ the MAC of the row is wrong/m,
    ],
    [
      'rows whose keys and MACs are swapped',
      (lines) => void ([lines[3], lines[7]] = [edited(lines[7], (l) => (l.iccid = (JSON.parse(good.lines[3] ?? '') as Line).iccid)), lines[7] ?? '']),
      /^5 \d+ the MAC of the row is wrong/m,
    ],
    [
      'an edited KCV',
      (lines) => void (lines[2] = edited(lines[2], (line) => ((line.keys[0] ?? { kcv: '' }).kcv = '0000000000'))),
      /^4 \d+ the MAC of the row/m,
    ],
    [
      'a KCV under another label',
      (lines) => void (lines[2] = edited(lines[2], (line) => ((line.keys[1] ?? { kcvMethod: '' }).kcvMethod = 'aes-cmac'))),
      /^4 \d+ the MAC of the row/m,
    ],
    [
      'another key version',
      (lines) => void (lines[2] = edited(lines[2], (line) => ((line.keys[1] ?? { keyVersion: 0 }).keyVersion = 0x31))),
      /^4 \d+ the MAC of the row/m,
    ],
    ['two purposes exchanged', (lines) => void (lines[2] = edited(lines[2], (line) => (line.keys = line.keys.toReversed()))), /^4 \d+ the MAC of the row/m],
    ['another IMSI', (lines) => void (lines[2] = edited(lines[2], (line) => (line.imsi = '460009900009999'))), /^4 \d+ the MAC of the row/m],
    [
      'a wrong check digit',
      (lines) => void (lines[2] = edited(lines[2], (line) => (line.iccid = `${line.iccid.slice(0, -1)}${(Number(line.iccid.at(-1)) + 1) % 10}`))),
      /by Luhn it must be/,
    ],
    ['a key left out', (lines) => void (lines[2] = edited(lines[2], (line) => line.keys.pop())), /it has 1 keys, a card of this delivery has 2/],
    ['a row twice', (lines) => void (lines[3] = lines[2] ?? ''), /^5 \d+ this ICCID stands in the file before/m],
    ['a line that is none', (lines) => void (lines[2] = '{"iccid":1}\n'), /^4  this is no line of a card/m],
  ]

  it.each(changes)('%s', async (_name, change, why) => {
    const lines = [...good.lines]
    change(lines)
    const report = await open(good.head + lines.join(''))
    expect(report.ok).toBe(false)
    expect(told(report)).toMatch(why)
    expect(told(report)).toMatch(/the SHA-256 of the cards’ lines is not the one that was signed/)

    const resigned = await open(
      maker.head(lines, { firstIccid: (JSON.parse(good.lines[0] ?? '') as Line).iccid, lastIccid: (JSON.parse(good.lines[19] ?? '') as Line).iccid }) +
        lines.join(''),
    )
    expect(resigned.ok).toBe(false)
    expect(told(resigned)).toMatch(why)
    expect(told(resigned)).not.toMatch(/SHA-256/)
  })

  it('a row of another order, signed into this one', async () => {
    const lines = [...good.lines.slice(0, 19), ...(await maker.lines(OTHER_ORDER, 119, 1))]
    expect(told(await open(maker.head(lines) + lines.join('')))).toMatch(/^21 \d+ the MAC of the row is wrong/m)
  })

  it.each([
    ['a dropped row', (lines: string[]) => lines.splice(5, 1), /the manifest names 20 cards, the file has 19/],
    ['dropped rows at the end', (lines: string[]) => lines.splice(10), /the first or last ICCID/],
    ['no rows', (lines: string[]) => lines.splice(0), /the file has 0/],
    ['rows in another order', (lines: string[]) => lines.splice(0, 20, ...lines.toReversed()), /SHA-256/],
    ['bytes behind the last row', (lines: string[]) => lines.push('\n'), /the file has 21/],
  ])('%s', async (_name, change, why) => {
    const lines = [...good.lines]
    change(lines)
    const report = await open(good.head + lines.join(''))
    expect(report.ok).toBe(false)
    expect(told(report)).toMatch(why)
  })
})

describe('line 1 is not believed', () => {
  /** What is said, nothing having been opened. */
  const refusal = async (text: string, options: Partial<DeliveryToOpen> = {}): Promise<string> => {
    const report = await open(text, options)
    return report.ok || report.cards + report.keys > 0 ? 'opened' : told(report)
  }
  const body = (): string => good.lines.join('')
  const forged = (options: Parameters<typeof makeDeliveryChain>[1] = {}): { head: string; root: Uint8Array } => {
    const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
    const { root, chain } = makeDeliveryChain(publicKey.export({ format: 'der', type: 'spki' }), options)
    return { head: maker.head(good.lines, {}, privateKey, chain), root }
  }

  it('when another root stands above it', async () => {
    expect(await refusal(forged().head + body())).toMatch(/another root than the trusted one/)
  })
  it('when its own root is left out of it', async () => {
    const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
    const { chain } = makeDeliveryChain(publicKey.export({ format: 'der', type: 'spki' }))
    expect(await refusal(maker.head(good.lines, {}, privateKey, chain.slice(0, 1)) + body())).toMatch(/not issued by the trusted root/)
    expect(await refusal(maker.head(good.lines, {}, privateKey, [chain[0] ?? new Uint8Array(), maker.root]) + body())).toMatch(/not issued by the trusted root/)
  })
  it.each([
    [
      'CN',
      [
        ['OU', 'services'],
        ['CN', 'service:tls-server'],
      ],
    ],
    [
      'OU',
      [
        ['OU', 'callers'],
        ['CN', 'service:delivery'],
      ],
    ],
  ] as const)('when the certificate is another of the same root (%s)', async (_part, subject) => {
    const { head, root } = forged({ subject })
    expect(await refusal(head + body(), { trustedRoot: root })).toMatch(/not for service:delivery/)
  })
  it('when the certificate is an authority’s, or has ended', async () => {
    const ca = forged({ ca: true, keyUsage: 0x06 })
    expect(await refusal(ca.head + body(), { trustedRoot: ca.root })).toMatch(/not for service:delivery/)
    expect(await refusal(good.head + body(), { at: new Date(Date.now() + 10 * 86_400_000) })).toMatch(/not valid at/)
  })
  it('when the signature is another’s, or of the DER form, or missing', async () => {
    const other = generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey
    expect(await refusal(maker.head(good.lines, {}, other) + body())).toMatch(/signature of the manifest is wrong/)
    const input = good.head.split('.').slice(0, 2).join('.')
    expect(await refusal(`${input}.${createSign('sha256').update(input).sign(maker.signer).toString('base64url')}\n${body()}`)).toMatch(/not of the form/)
    expect(await refusal(`${input}.\n${body()}`)).toMatch(/not of the form/)
    expect(await refusal(`${good.head.trim()}.x\n${body()}`)).toMatch(/no signed manifest/)
  })
  it('when the algorithm is `none` or the payload was changed', async () => {
    const [head = '', payload = '', signature = ''] = good.head.trim().split('.')
    const none = Buffer.from(JSON.stringify({ ...(JSON.parse(Buffer.from(head, 'base64url').toString()) as object), alg: 'none' })).toString('base64url')
    expect(await refusal(`${none}.${payload}.\n${body()}`)).toMatch(/no signed manifest/)
    const changed = Buffer.from(Buffer.from(payload, 'base64url').toString().replace('"cards":20', '"cards":21')).toString('base64url')
    expect(await refusal(`${head}.${changed}.${signature}\n${body()}`)).toMatch(/signature of the manifest is wrong/)
  })
  it('when it is of another order, transport key or MAC key', async () => {
    expect(await refusal(good.head + body(), { order: OTHER_ORDER })).toMatch(/delivery of another order/)
    expect(await refusal(good.head + body(), { transportKey: { ...transportKey, transportKeyId: 'transport:x' } })).toMatch(/is under the transport key/)
    expect(await refusal(good.head + body(), { transportKey: { ...transportKey, macKeyId: 'x' } })).toMatch(/under the MAC key/)
  })
  it('when the transport key is not the vendor’s, or its KCV is another', async () => {
    expect(await refusal(good.head + body(), { privateKey: makeEncryptionPair().privateKey })).toMatch(/does not open with this private key/)
    expect(await refusal(good.head + body(), { transportKey: { ...transportKey, kcv: { method: 'aes-cmac', value: '0000000000' } } })).toMatch(
      /transport key has another KCV/,
    )
    expect(await refusal(good.head + body(), { transportKey: { ...transportKey, macKcv: { method: 'none', value: '' } } })).toMatch(
      /row-MAC key has another KCV/,
    )
  })
  it('when the file is empty, foreign, or one endless line', async () => {
    expect(await refusal('')).toMatch(/empty/)
    expect(await refusal('hello\n')).toMatch(/no signed manifest/)
    expect(await refusal('x'.repeat(300_000))).toMatch(/more than 262144 bytes/)
  })
})
