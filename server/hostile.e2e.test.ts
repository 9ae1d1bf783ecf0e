import { connect as connectPlainly } from 'node:net'
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { luhnDigit, nextIccid } from '../core/iccid.ts'
import { EdgeSite, ExpectedRefusals, JSON_TYPE, problemOf, type Told, type Wanted, type Who } from './testing/edge-site.ts'
import { readiness, WELL } from './testing/health.ts'
import { describedIn, type OpenApi, requestsOf, seedsOf } from './testing/fuzz.ts'

const KEYS = '/v1/kms/keys'
const ORDERS = '/v1/card-personalization/orders'
const KIB = 1024

let site: EdgeSite
beforeAll(async () => {
  site = await EdgeSite.open()
})
afterAll(() => site.close())

/** The problem that a request gets, which leaves nothing behind. */
const refused = async (who: Who, wanted: Wanted): Promise<Told> => problemOf(await site.changesNothing(() => site.ask(who, wanted)))
const post = (path: string, body: string | Buffer, headers: Wanted['headers'] = JSON_TYPE): Wanted => ({ method: 'POST', path, body, headers })

describe('a body that is not what the address takes', () => {
  const nested = (open: string, close: string): string => `{"label":${open.repeat(100_000)}1${close.repeat(100_000)},"algorithm":"ec-p256"}`
  const cases: readonly (readonly [claim: string, body: string | Buffer, detail: RegExp, pointer: string | undefined])[] = [
    ['not JSON', '{"label":', /not JSON/, undefined],
    ['nothing', '', /not JSON/, undefined],
    ['JSON with something behind it', '{} {}', /not JSON/, undefined],
    ['not UTF-8', Buffer.from([0x7b, 0x22, 0xff, 0xfe, 0x22, 0x3a, 0x31, 0x7d]), /not UTF-8/, undefined],
    ['UTF-16', Buffer.from('{"label":"a","algorithm":"ec-p256"}', 'utf16le'), /not JSON|not UTF-8/, undefined],
    ['UTF-8 of a surrogate', Buffer.from([0x7b, 0x22, 0xed, 0xa0, 0x80, 0x22, 0x3a, 0x31, 0x7d]), /not UTF-8/, undefined],
    ['an array', '[{"label":"a","algorithm":"ec-p256"}]', /JSON object/, undefined],
    ['null', 'null', /JSON object/, undefined],
    ['a number', '1', /JSON object/, undefined],
    ['a text', '"label"', /JSON object/, undefined],
    ['an unknown field', '{"label":"a","algorithm":"ec-p256","extractable":true}', /unknown/, ''],
    ['__proto__', '{"label":"a","algorithm":"ec-p256","__proto__":{"owner":"urn:gridseal:officer:alice"}}', /unknown/, ''],
    ['constructor', '{"label":"a","algorithm":"ec-p256","constructor":{"prototype":{"isAdmin":true}}}', /unknown/, ''],
    ['fields inherited through __proto__ alone', '{"__proto__":{"label":"a","algorithm":"ec-p256"}}', /missing/, '/label'],
    ['objects 100,000 deep', nested('{"a":', '}'), /right form/, '/label'],
    ['arrays 100,000 deep', nested('[', ']'), /right form/, '/label'],
    ['a number too large for any type', `{"label":1e999,"algorithm":"ec-p256"}`, /right form/, '/label'],
    ['a number of 100,000 digits', `{"label":${'9'.repeat(100_000)},"algorithm":"ec-p256"}`, /right form/, '/label'],
    ['a NUL', String.raw`{"label":"a\u0000b","algorithm":"ec-p256"}`, /U\+0000/, undefined],
    ['a NUL behind a backslash', String.raw`{"label":"a\\\u0000b","algorithm":"ec-p256"}`, /U\+0000/, undefined],
    ['what only looks like a NUL', String.raw`{"label":"a\\u0000b","algorithm":"ec-p256"}`, /right form/, '/label'],
    ['half a surrogate pair', String.raw`{"label":"\ud800","algorithm":"ec-p256"}`, /right form/, '/label'],
    ['an algorithm that every object has', '{"label":"a","algorithm":"constructor"}', /right form/, '/algorithm'],
    ['a label with a quote and a semicolon', `{"label":"a'; DROP TABLE kms_keys; --","algorithm":"ec-p256"}`, /right form/, '/label'],
  ]
  it.each(cases)('%s', async (_claim, body, detail, pointer) => {
    const told = await refused(site.module, post(KEYS, body))
    expect(told).toMatchObject({ code: 'request-invalid', detail: expect.stringMatching(detail) as string })
    if (pointer !== undefined) expect(told.faults.map((fault) => fault.pointer)).toContain(pointer)
  })

  it('a field that the path says already', async () => {
    const told = await refused(
      site.module,
      post(`${KEYS}/01890000-0000-7000-8000-000000000000/sign`, '{"keyId":"01890000-0000-7000-8000-000000000001","items":[{"message":""}]}'),
    )
    expect(told).toMatchObject({ code: 'request-invalid', faults: [{ pointer: '/keyId', message: 'given twice' }] })
  })

  it.each([
    ['of another type', { 'content-type': 'text/plain' }],
    ['of another JSON', { 'content-type': 'application/json-patch+json' }],
    ['of a form', { 'content-type': 'application/x-www-form-urlencoded' }],
    ['of no type', {}],
    ['compressed', { ...JSON_TYPE, 'content-encoding': 'gzip' }],
    ['compressed, it says', { ...JSON_TYPE, 'content-encoding': 'br, identity' }],
  ])('%s: 415', async (_claim, headers) => {
    const told = await refused(site.module, post(KEYS, '{"label":"a","algorithm":"ec-p256"}', headers))
    expect(told).toMatchObject({ code: 'media-type-unsupported', detail: expect.stringMatching(/^Send /) as string })
  })

  it('a query on a POST, a body with a GET, a field twice in a query, a field that is none', async () => {
    expect(await refused(site.module, post(`${KEYS}?label=a`, '{"label":"a","algorithm":"ec-p256"}'))).toMatchObject({
      code: 'request-invalid',
      detail: 'This address takes no query.',
    })
    expect(await refused(site.module, { path: KEYS, headers: JSON_TYPE, body: '{}' })).toMatchObject({
      code: 'request-invalid',
      detail: 'This address takes no body.',
    })
    expect(await refused(site.module, { path: `${KEYS}?limit=1&limit=2` })).toMatchObject({
      code: 'request-invalid',
      faults: [{ pointer: '/limit', message: 'given twice' }],
    })
    for (const query of ['__proto__=1', 'constructor=1', 'limit[]=1', 'limit=-1', 'limit=1e999', 'limit=', 'after=%00', '%zz']) {
      expect(await refused(site.module, { path: `${KEYS}?${query}` }), query).toMatchObject({ code: 'request-invalid' })
    }
  })
})

describe('a body that is too long', () => {
  const head = (extra: string): string => `POST ${KEYS} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n${extra}\r\n\r\n`

  it('is refused by its content-length, before it is sent, and the connection ends', async () => {
    const { replies, isClosed, tookMs } = await site.changesNothing(() =>
      site.exchange(site.module, [head('Content-Length: 1099511627776'), '{'], { untilMs: 4000 }),
    )
    expect(replies).toHaveLength(1)
    expect(problemOf(replies[0] as never)).toMatchObject({ code: 'body-too-large', detail: expect.stringMatching(/1048576 bytes/) as string })
    expect({ isClosed, quick: tookMs < 3000 }).toEqual({ isClosed: true, quick: true })
  })

  it('is refused in chunks, as soon as it is too long; a body without end is not read on', async () => {
    const chunk = Buffer.from(`${(64 * KIB).toString(16)}\r\n${' '.repeat(64 * KIB)}\r\n`)
    const { replies, isClosed, tookMs } = await site.changesNothing(() =>
      site.exchange(site.module, [head('Transfer-Encoding: chunked'), ...Array.from({ length: 400 }, () => chunk)], { untilMs: 8000, pauseMs: 20 }),
    )
    expect(replies).toHaveLength(1)
    expect(problemOf(replies[0] as never)).toMatchObject({ code: 'body-too-large' })
    expect({ isClosed, quick: tookMs < 6000 }).toEqual({ isClosed: true, quick: true })
  })

  it('reaches who sends all of it before it listens', async () => {
    expect(await refused(site.module, post(KEYS, ' '.repeat(3 * KIB * KIB)))).toMatchObject({ code: 'body-too-large' })
    expect(await refused(site.module, post(KEYS, ' '.repeat(3 * KIB * KIB), { 'content-type': 'text/plain' }))).toMatchObject({
      code: 'media-type-unsupported',
    })
    expect(await refused({}, post(KEYS, ' '.repeat(3 * KIB * KIB)))).toMatchObject({ code: 'unauthenticated' })
  })
})

describe('what is not HTTP/1.1, or could be read in two ways', () => {
  const smuggled = `POST ${KEYS} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 42\r\n\r\n{"label":"smuggled","algorithm":"ec-p256"}`
  const begin = `POST ${KEYS} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n`
  const attacks: readonly (readonly [claim: string, bytes: string])[] = [
    ['content-length and transfer-encoding', `${begin}Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n${smuggled}`],
    ['transfer-encoding and content-length', `${begin}Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n${smuggled}`],
    ['two content-lengths', `${begin}Content-Length: 2\r\nContent-Length: 9\r\n\r\n{}${smuggled}`],
    ['a list of content-lengths', `${begin}Content-Length: 2, 9\r\n\r\n{}${smuggled}`],
    ['a content-length with a sign', `${begin}Content-Length: +2\r\n\r\n{}${smuggled}`],
    ['a content-length in hex', `${begin}Content-Length: 0x2\r\n\r\n{}${smuggled}`],
    ['an encoding that is none', `${begin}Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n${smuggled}`],
    ['chunked, and then another', `${begin}Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n${smuggled}`],
    ['a blank before the colon', `${begin}Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n${smuggled}`],
    ['a negative content-length', `${begin}Content-Length: -2\r\n\r\n{}${smuggled}`],
    ['line feeds alone', begin.replaceAll('\r\n', '\n') + `Content-Length: 2\n\n{}${smuggled}`],
    ['a chunk size that overflows', `${begin}Transfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\n${smuggled}`],
    ['a negative chunk size', `${begin}Transfer-Encoding: chunked\r\n\r\n-1\r\n${smuggled}`],
    ['a NUL in a header', `${begin}X-A: a\0b\r\nContent-Length: 2\r\n\r\n{}${smuggled}`],
    ['an unknown method', `BREW ${KEYS} HTTP/1.1\r\nHost: x\r\n\r\n${smuggled}`],
    ['another version', `GET ${KEYS} HTTP/3.7\r\nHost: x\r\n\r\n${smuggled}`],
    ['no HTTP', `\0\x01\x02\r\n\r\n${smuggled}`],
    ['20 KiB of header', `${begin}X-A: ${'a'.repeat(20 * KIB)}\r\n\r\n${smuggled}`],
    ['3,000 headers', `${begin}${Array.from({ length: 3000 }, (_, at) => `X-${String(at)}: a\r\n`).join('')}\r\n${smuggled}`],
    ['20 KiB of address', `GET ${KEYS}?limit=${'1'.repeat(20 * KIB)} HTTP/1.1\r\nHost: x\r\n\r\n${smuggled}`],
  ]
  it.each(attacks)('%s: one problem, then the connection ends', async (_claim, bytes) => {
    const { replies, isClosed } = await site.changesNothing(() => site.exchange(site.module, [bytes], { untilMs: 4000 }))
    expect(replies.map((reply) => problemOf(reply).code)).toEqual(['request-invalid'])
    expect({ isClosed, connection: replies[0]?.headers['connection'] }).toEqual({ isClosed: true, connection: 'close' })
  })

  it('a request without a host', async () => {
    const { replies } = await site.exchange(site.module, [`GET ${KEYS} HTTP/1.1\r\nConnection: close\r\n\r\n`])
    expect(replies.map(problemOf)).toMatchObject([{ code: 'request-invalid', detail: expect.stringMatching(/host/) as string }])
  })

  it.each(['http://[', 'https://[::1]:x/v1/kms/keys', 'http://user:pa%zz@host/'])('a target that is no URL: %s', async (target) => {
    const { replies } = await site.changesNothing(() => site.exchange(site.module, [`GET ${target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n`]))
    expect(replies.map(problemOf)).toMatchObject([{ code: 'request-invalid', detail: expect.stringMatching(/no URL/) as string }])
  })

  it('an expectation that is not known is passed over; 100-continue is answered', async () => {
    const body = '{"label":1}'
    const { replies } = await site.exchange(site.module, [
      `${begin}Expect: 200-maybe\r\nContent-Length: ${String(body.length)}\r\n\r\n${body}`,
      `${begin}Expect: 100-continue\r\nConnection: close\r\nContent-Length: ${String(body.length)}\r\n\r\n${body}`,
    ])
    expect(replies.map((reply) => problemOf(reply).code)).toEqual(['request-invalid', 'request-invalid'])
  })

  it('requests side by side are answered in their order, and garbage behind them comes last', async () => {
    const get = (path: string): string => `GET ${path} HTTP/1.1\r\nHost: x\r\n\r\n`
    const { replies, isClosed } = await site.changesNothing(() =>
      site.exchange(site.module, [get('/v1/nothing') + get(KEYS) + get('/openapi.json') + get(KEYS) + `garbage\r\n\r\n${smuggled}`]),
    )
    expect(replies.map(({ status }) => status)).toEqual([404, 200, 200, 200, 400])
    expect(isClosed).toBe(true)
  })
})

describe('who is slow is cut', () => {
  it('at the handshake, at the head, at the body, each within 13 s and while others are served', async () => {
    const { port, hostname } = new URL(site.service.url)
    const mute = new Promise<number>((resolve) => {
      const began = performance.now()
      connectPlainly({ port: Number(port), host: hostname })
        .on('error', () => undefined)
        .on('close', () => resolve(performance.now() - began))
    })
    const drip = (start: string): string[] => [start, ...Array.from({ length: 60 }, (_, at) => `X-${String(at)}: a\r\n`)]
    const head = site.exchange(site.module, drip(`GET ${KEYS} HTTP/1.1\r\nHost: x\r\n`), { untilMs: 20_000, pauseMs: 500 })
    const body = site.exchange(site.module, [`POST ${KEYS} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{"label":`], {
      untilMs: 20_000,
    })
    const answered = await site.ask(site.module, { path: KEYS })
    expect(answered.status).toBe(200)
    for (const cut of [await head, await body]) {
      expect(cut.isClosed).toBe(true)
      expect(cut.tookMs).toBeLessThan(13_000)
      expect(cut.replies.map(problemOf)).toMatchObject([{ code: 'request-invalid', detail: expect.stringMatching(/did not come in time/) as string }])
    }
    expect(await mute).toBeLessThan(13_000)
  })
})

describe('an order that is not right', () => {
  const first = { iccid: '89860012345678901238', imsi: '460001234567890' }
  const order = (changes: object): object => ({ profile: 'grid-usim-1', transportKeyId: site.vendor.transportKeyId, cards: [first], ...changes })
  const inp = (data: readonly string[], quantity = data.length, transportKey = '001'): string =>
    [
      'CUSTOMER: X',
      `QUANTITY: ${String(quantity).padStart(5, '0')}`,
      'TYPE: USIM',
      'PROFILE: grid-usim-1',
      'BATCH: PO-1',
      `TRANSPORT_KEY: ${transportKey}`,
      'TRANSPORT_ALG: AES',
      '* INPUT VARIABLES DESCRIPTION *',
      'Var_In_List:',
      'IMSI: 460001234567890',
      'Ser_nb: 89860012345678901238',
      '* OUTPUT VARIABLES DESCRIPTION *',
      'VAR_OUT: /ICCID/IMSI/',
      '* DATA SECTION *',
      ...data,
    ].join('\n')
  const card = (at: number): { iccid: string; imsi: string } => ({ iccid: nextIccid(first.iccid, at) ?? '', imsi: String(BigInt(first.imsi) + BigInt(at)) })
  const row = (at: number): string => `${card(at).iccid} ${card(at).imsi}`

  const refusals = new ExpectedRefusals()

  /** The faults of an order; the refusal stands in the log, with the decision that let it come so far. */
  async function faultsOf(wanted: Wanted): Promise<readonly string[]> {
    const told = await refused(site.vendor, wanted)
    expect(told.code).toBe('order-invalid')
    refusals.add(told, { operation: 'card-personalization.order.submit', decision: expect.objectContaining({ effect: 'allow', rule: 'vendors' }) as object })
    return told.faults.map(({ pointer, line, message }) => `${pointer ?? `line ${String(line)}`}: ${message}`)
  }
  const faultsOfJson = (changes: object): Promise<readonly string[]> => faultsOf(post(ORDERS, JSON.stringify(order(changes))))
  const faultsOfText = (text: string): Promise<readonly string[]> => faultsOf(post(ORDERS, text, { 'content-type': 'text/plain' }))

  it.each([
    ['a check digit', '89860012345678901234', /check digit is 4, by Luhn it must be 8/],
    ['letters', '8986001234567890123A', /digits only/],
    ['digits of another script', '８９８６００１２３４５６７８９０１２３５', /digits only/],
    ['its length', '898600123456789012', /19 or 20 digits/],
    ['its industry', '79860012345678901230', /begins with 89/],
  ])('an ICCID that is wrong in %s', async (_claim, iccid, message) => {
    expect(await faultsOfJson({ cards: [{ ...first, iccid }] })).toEqual([expect.stringMatching(new RegExp(`^/cards/0/iccid: .*${message.source}`))])
  })

  it('an ICCID twice in it, as JSON and as text', async () => {
    expect(await faultsOfJson({ cards: [first, card(1), { ...first, imsi: card(2).imsi }] })).toEqual([
      '/cards/2/iccid: this ICCID stands in the order before (/cards/0/iccid)',
    ])
    const [fault, ...others] = await faultsOfText(inp([row(0), row(1), row(0).replace(first.imsi, card(2).imsi)]))
    expect(fault).toMatch(/^line 17: this ICCID stands in the order before \(line 15\)/)
    expect(others).toEqual([])
  })

  it('a quantity that is not the number of its rows', async () => {
    expect(await faultsOfText(inp([row(0), row(1)], 3))).toEqual([expect.stringMatching(/^line \d+: .*(QUANTITY|quantity|cards|rows)/)])
    expect(await faultsOfJson({ quantity: 2 })).toEqual([expect.stringMatching(/^\/quantity: /)])
  })

  it('a transport key that is not there, or another vendor’s: alike', async () => {
    const unknown = await faultsOfJson({ transportKeyId: 'transport:01890000-0000-7000-8000-000000000000' })
    const foreign = await faultsOfJson({ transportKeyId: site.other.transportKeyId })
    expect(unknown).toEqual(['/transportKeyId: you have no such transport key'])
    expect(foreign).toEqual(unknown)
    expect(await faultsOfText(inp([row(0)], 1, '002'))).toEqual([expect.stringMatching(/no such transport key/)])
  })

  it('an ICCID that is taken: of the same vendor and of another, alike, and the order that has it stays as it was', async () => {
    const start = { iccid: `8986009999999900000${luhnDigit('8986009999999900000')}`, imsi: '460009999990000' }
    const { orderId } = await site.vendor.client.post<{ orderId: string }>(ORDERS, order({ cards: undefined, start, quantity: 20 }))
    const again = (who: typeof site.vendor): string =>
      JSON.stringify({ profile: 'grid-usim-1', transportKeyId: who.transportKeyId, cards: [{ iccid: nextIccid(start.iccid, 7), imsi: '460009999998888' }] })
    const own = await refused(site.vendor, post(ORDERS, again(site.vendor)))
    const others = await refused(site.other, post(ORDERS, again(site.other)))
    expect(own).toMatchObject({
      code: 'order-invalid',
      faults: [{ pointer: '/cards/0/iccid', message: expect.stringMatching(/ordered before: an ICCID is issued once, ever/) as string }],
    })
    expect({ ...others, operationId: '' }).toEqual({ ...own, operationId: '' })
    const [entry] = await site.entriesOf(own.operationId)
    expect(JSON.stringify(entry), 'an ICCID is personal: the log names it by commitment alone').not.toContain(nextIccid(start.iccid, 7)?.slice(8))

    // The order, its cancellation and its delivery, for who must not know of it.
    for (const wanted of [{ path: `${ORDERS}/ID` }, { path: `${ORDERS}/ID/delivery` }, { method: 'POST', path: `${ORDERS}/ID/cancel` }]) {
      const foreign = await refused(site.other, { ...wanted, path: wanted.path.replace('ID', orderId) })
      const unknown = await refused(site.other, { ...wanted, path: wanted.path.replace('ID', '01890000-0000-7000-8000-000000000000') })
      expect(foreign).toMatchObject({ code: 'not-found' })
      expect({ ...foreign, operationId: '' }).toEqual({ ...unknown, operationId: '' })
      refusals.add(foreign, {})
    }
  })

  it('another vendor’s transport key is not there', async () => {
    const path = (id: string): Wanted => ({ path: `/v1/card-personalization/transport-keys/${id}` })
    const foreign = await refused(site.vendor, path(site.other.transportKeyId))
    const unknown = await refused(site.vendor, path('transport:01890000-0000-7000-8000-000000000000'))
    expect(foreign).toMatchObject({ code: 'not-found' })
    expect({ ...foreign, operationId: '' }).toEqual({ ...unknown, operationId: '' })
    refusals.add(foreign, { operation: 'card-personalization.transport-key.get' })
  })

  it('100,000 cards that are all wrong are told of in a bounded answer', async () => {
    const cards = Array.from({ length: 100_000 }, () => ({ iccid: 'x', imsi: 'y' }))
    const reply = await site.ask(site.vendor, post(ORDERS, JSON.stringify(order({ cards }))))
    expect(problemOf(reply).code).toBe('order-invalid')
    expect(reply.text.length).toBeLessThan(128 * KIB)
  })

  it('and each of these refusals stands in the log', async () => {
    expect(await refusals.check(site)).toBeGreaterThan(12)
  })
})

describe('what nobody thought of', () => {
  it('is never a 5xx, never a silence, always a problem: random changes of valid requests to every operation', async () => {
    const document = JSON.parse((await site.ask({}, { path: '/openapi.json' })).text) as OpenApi
    const seeds = await seedsOf(site)
    const described = describedIn(document)
    expect(Object.keys(seeds).sort(), 'every operation has a seed').toEqual(described.map(({ operationId }) => operationId).sort())
    const seen = new Map<number, number>()
    for (const op of described) {
      const seed = seeds[op.operationId]
      if (seed === undefined) continue
      await fc.assert(
        fc.asyncProperty(requestsOf(op, seed), async (wanted) => {
          const reply = await site.ask(seed.who, wanted, 10_000)
          seen.set(reply.status, (seen.get(reply.status) ?? 0) + 1)
          if (reply.status >= 400) problemOf(reply)
          expect(reply.status, `${op.operationId}: ${reply.text}`).toBeLessThan(500)
        }),
        { numRuns: 14, endOnFailure: true },
      )
    }
    expect([...seen.keys()]).toEqual(expect.arrayContaining([200, 400, 404]))
    expect(await readiness(site.service.plainUrl)).toEqual(WELL)
    expect((await site.tables()).get('open_intents')).toMatch(/^0 /)
  })
})
