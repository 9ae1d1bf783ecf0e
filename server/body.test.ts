import type { IncomingMessage } from 'node:http'
import { PassThrough } from 'node:stream'
import { setTimeout as sleep } from 'node:timers/promises'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { describe, expect, it } from 'vitest'
import { hasBody, readBody } from './body.ts'

const request = (headers: Readonly<Record<string, string>>): IncomingMessage & PassThrough => Object.assign(new PassThrough(), { headers }) as never
setFlagsFromString('--expose-gc')
const collectGarbage = runInNewContext('gc') as () => void
const CHUNKED = { 'content-type': 'application/json', 'transfer-encoding': 'chunked' }
const refusal = (code: string, detail: RegExp): unknown => expect.objectContaining({ code, detail: expect.stringMatching(detail) as string })

describe('a body', () => {
  it('comes in pieces, as JSON or as the one text that the route takes', async () => {
    const json = request(CHUNKED)
    const read = readBody(json, {})
    for (const piece of ['{"na', 'me":"', 'ü', '"}']) json.write(piece)
    json.end()
    await expect(read).resolves.toEqual({ name: 'ü' })
    const text = request({ 'content-type': 'text/plain; charset=utf-8', 'content-length': '3' })
    text.end('QTY')
    await expect(readBody(text, { textBody: 'inp' })).resolves.toEqual({ inp: 'QTY' })
  })

  it('in pieces of a byte takes the room of its bytes: none of the pieces is kept', async () => {
    const dust = request(CHUNKED)
    const read = readBody(dust, {})
    const text = `{"a":"${'x'.repeat(10_000)}"}`
    const kept = Array.from(text, (character) => {
      const piece = Buffer.from(character)
      dust.emit('data', piece)
      return new WeakRef(piece)
    })
    await sleep(1)
    collectGarbage()
    expect(kept.filter((piece) => piece.deref() !== undefined).length).toBeLessThan(10)
    dust.emit('end')
    await expect(read).resolves.toEqual(JSON.parse(text))
  })

  it('may be absent, by its head', () => {
    expect([{}, { 'content-length': '0' }].map((headers) => hasBody(request(headers)))).toEqual([false, false])
    expect([{ 'content-length': '1' }, { 'content-length': '00' }, CHUNKED].map((headers) => hasBody(request(headers)))).toEqual([true, true, true])
  })

  it('that drips is cut when its time is over, though it never pauses for long', async () => {
    const drip = request(CHUNKED)
    const read = readBody(drip, {}, { totalMs: 120, idleMs: 60 })
    const timer = setInterval(() => drip.write(' '), 10)
    await expect(read).rejects.toEqual(refusal('request-invalid', /did not come in time/))
    clearInterval(timer)
    expect(drip.isPaused()).toBe(true)
  })

  it('that pauses is cut before its time is over', async () => {
    const mute = request(CHUNKED)
    mute.write('{')
    const read = readBody(mute, {}, { totalMs: 10_000, idleMs: 20 })
    await expect(read).rejects.toEqual(refusal('request-invalid', /did not come in time/))
  })

  it('is refused at the byte over the limit, and not read on', async () => {
    const long = request(CHUNKED)
    const read = readBody(long, { maxBodyBytes: 4 })
    long.write('[[[[')
    await sleep(1)
    long.write('[')
    await expect(read).rejects.toEqual(refusal('body-too-large', /4 bytes/))
    expect(long.isPaused()).toBe(true)
    await expect(readBody(request({ 'content-type': 'application/json', 'content-length': '5' }), { maxBodyBytes: 4 })).rejects.toEqual(
      refusal('body-too-large', /4 bytes/),
    )
  })

  it('whose connection ends is an end, too', async () => {
    const gone = request(CHUNKED)
    const read = readBody(gone, {})
    gone.emit('aborted')
    await expect(read).rejects.toEqual(refusal('request-invalid', /ended before/))
    gone.destroy(new Error('reset'))
    await sleep(1)
  })

  const nul = (text: string): Promise<unknown> => {
    const one = request(CHUNKED)
    one.end(text)
    return readBody(one, {})
  }
  it.each([String.raw`{"a":"\u0000"}`, String.raw`{"a":"\\\u0000"}`, String.raw`{"\u0000":1}`, String.raw`{"a":"\\u0000 \u0000"}`])(
    'with a NUL: %s',
    async (text) => {
      await expect(nul(text)).rejects.toEqual(refusal('request-invalid', /U\+0000/))
    },
  )
  it.each([String.raw`{"a":"\\u0000"}`, String.raw`{"a":"\\\\u0000"}`, String.raw`{"a":"\u0001"}`, '{"a":"u0000"}'])('without one: %s', async (text) => {
    await expect(nul(text)).resolves.toEqual(JSON.parse(text))
  })
})
