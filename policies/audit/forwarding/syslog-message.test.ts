import { describe, expect, it } from 'vitest'
import { newOperationId } from '../../../core/ids.ts'
import { encodeEntry, parseEntry } from '../entry.ts'
import type { EntryDraft } from '../log.ts'
import type { FoundEntry } from '../reader.ts'
import { syslogFrame } from './syslog-message.ts'

/** A reader by the grammar of RFC 5424 6 and RFC 5425 4.3.1, strict. */
function parseFrame(frame: Uint8Array): {
  readonly pri: number
  readonly head: readonly string[]
  readonly sdId: string
  readonly data: Record<string, string>
  readonly msg: string
} {
  const text = Buffer.from(frame).toString('utf8')
  const [, length = '', message = ''] = /^([1-9]\d*) (.*)$/su.exec(text) ?? []
  expect(Buffer.byteLength(message)).toBe(Number(length))
  const [, pri = '', head = '', sdId = '', parameters = '', msg = ''] =
    /^<(\d{1,3})>1 ([\x21-\x7e]+ [\x21-\x7e]{1,255} [\x21-\x7e]{1,48} [\x21-\x7e]{1,128} [\x21-\x7e]{1,32}) \[([^ ="\]]{1,32})((?: [^ ="\]]{1,32}="(?:[^"\\\]]|\\["\\\]])*")*)\] (.*)$/su.exec(
      message,
    ) ?? []
  const data = [...parameters.matchAll(/ ([^=]+)="((?:[^"\\\]]|\\["\\\]])*)"/gu)].map(([, name = '', value = '']) => [
    name,
    value.replaceAll(/\\(["\\\]])/g, '$1'),
  ])
  return { pri: Number(pri), head: head.split(' '), sdId, data: Object.fromEntries(data) as Record<string, string>, msg }
}

function found(draft: Partial<EntryDraft> = {}): FoundEntry {
  const full: EntryDraft = {
    kind: 'outcome',
    id: newOperationId(),
    operation: 'kms.key.sign',
    caller: { kind: 'module', name: 'billing', id: 'm1' },
    code: 'ok',
    ...draft,
  }
  const at = { time: new Date('2026-11-26T12:00:00.123Z'), writer: { slot: 1, epoch: 2, seq: 3 }, effect: 'transient', salt: () => new Uint8Array(16) } as const
  const { bytes } = encodeEntry(full, at)
  return { index: 41, bytes, entry: parseEntry(bytes) }
}
const source = { origin: 'grid.example/audit', hostname: 'node 1\u0000.grid.example' }

describe('a syslog message', () => {
  it('is one of RFC 5424, whose MSG is the entry’s exact bytes', () => {
    const entry = found()
    expect(parseFrame(syslogFrame(entry, source))).toEqual({
      pri: 13 * 8 + 6,
      head: ['2026-11-26T12:00:00.123Z', 'node1.grid.example', 'gridseal', '-', 'outcome'],
      sdId: 'gridseal@32473',
      data: {
        ...{ index: '41', id: entry.entry.id, operation: 'kms.key.sign', kind: 'outcome', code: 'ok', caller: 'urn:gridseal:module:billing' },
        ...{ origin: 'grid.example/audit', writer: '1/2/3' },
      },
      msg: Buffer.from(entry.bytes).toString('utf8'),
    })
  })

  it('lets no name out of its parameter', () => {
    const name = '"] evil="x\\] 电网 \\'
    const { data } = parseFrame(syslogFrame(found({ caller: { kind: 'module', name, id: 'm1' } }), source))
    expect(data['caller']).toBe(`urn:gridseal:module:${name}`)
    expect(data['evil']).toBeUndefined()
  })

  it.each([
    ['ok', 6],
    ['held', 6],
    ['forbidden', 5],
    ['login-failed', 4],
    ['a-code-of-later', 4],
    ['hsm-unavailable', 3],
    ['integrity-failed', 2],
  ])('of the code %s has the severity %i', (code, severity) => {
    expect(parseFrame(syslogFrame(found({ code }), source)).pri).toBe(13 * 8 + severity)
  })

  it('has no code where the entry has none', () => {
    const { code: _code, ...event } = found().entry
    const { bytes } = encodeEntry(
      { ...event, facts: {}, kind: 'event' },
      { time: new Date(0), writer: { slot: 0, epoch: 1, seq: 0 }, effect: 'durable', salt: () => new Uint8Array(16) },
    )
    const { pri, data } = parseFrame(syslogFrame({ index: 0, bytes, entry: parseEntry(bytes) }, { origin: 'o', hostname: '' }))
    expect(pri).toBe(13 * 8 + 5)
    expect(Object.keys(data)).not.toContain('code')
  })
})
