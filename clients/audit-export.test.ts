import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import { utf8 } from '../core/bytes.ts'
import { encodeExportLine } from '../policies/audit/export.ts'
import { EXPORT_FORMATS, type ExportFormat, type ExportJob, exportToFile } from './audit-export.ts'

const folder = mkdtempSync(join(tmpdir(), 'gridseal-export-'))
afterAll(() => rmSync(folder, { recursive: true }))

const SIZE = 300
/** Some entries are long, so that a line is cut in the middle often; checkpoints stand behind some. */
const textOf = (index: number): string => `{"n":${String(index)},"text":"${'ü'.repeat(index % 7 === 0 ? 20_000 : 10)}"}`
const LINES: Readonly<Record<ExportFormat, (index: number) => string>> = {
  csv: (index) => `${String(index)},"${textOf(index).replaceAll('"', '""')}"\r\n`,
  ocsf: (index) => `${JSON.stringify({ metadata: { sequence: index }, text: textOf(index) })}\n`,
  ndjson: (index) =>
    encodeExportLine({ kind: 'entry', index, bytes: utf8(textOf(index)) }) +
    (index % 10 === 9 ? encodeExportLine({ kind: 'checkpoint', note: `note over ${String(index + 1)}\n\n` }) : ''),
}
const HEADERS: Readonly<Record<ExportFormat, string>> = {
  csv: 'index,entry\r\n',
  ocsf: '',
  ndjson: encodeExportLine({ kind: 'header', origin: 'o', vkey: 'k' }),
}
const wholeOf = (format: ExportFormat, from: number, to: number): Buffer =>
  Buffer.from(HEADERS[format] + Array.from({ length: to - from }, (_, at) => LINES[format](from + at)).join(''))

/** A service whose answers end after so many bytes, each connection; undefined: never. */
function service(cuts: (number | undefined)[], asked: string[] = []): ExportJob['client'] {
  return {
    get: <Answer>() => Promise.resolve({ size: SIZE } as Answer),
    stream: (path) => {
      asked.push(path)
      const query = new URL(path, 'https://x').searchParams
      const whole = wholeOf(query.get('format') as ExportFormat, Number(query.get('from')), Number(query.get('to')))
      const cut = cuts.shift()
      return Promise.resolve(
        (async function* () {
          for (let at = 0; at < Math.min(cut ?? whole.length, whole.length); at += 5000) yield whole.subarray(at, Math.min(at + 5000, cut ?? whole.length))
          await Promise.resolve()
          if (cut !== undefined && cut < whole.length) throw new Error('the answer ended early')
        })(),
      )
    },
  }
}

describe.each(EXPORT_FORMATS)('an export as %s', (format) => {
  it('is whole, in a file that only its owner reads, and leaves nothing beside it', async () => {
    const file = join(folder, `whole.${format}`)
    await exportToFile({ client: service([]), file, format, from: 0 })
    expect(readFileSync(file).equals(wholeOf(format, 0, SIZE))).toBe(true)
    expect(statSync(file).mode & 0o777).toBe(0o600)
    expect(readdirSync(folder).filter((name) => name.startsWith(`whole.${format}.`))).toEqual([])
  })

  it('that was cut off anywhere, again and again, ends as if it had not been', async () => {
    const file = join(folder, `cut.${format}`)
    const length = wholeOf(format, 0, SIZE).length
    const cuts = [0, 3, HEADERS[format].length, 12_345, 4000, length / 3, 41_000, 80_001, length / 2].map(Math.floor)
    const asked: string[] = []
    const client = service([...cuts], asked)
    for (const cut of cuts) {
      await expect(exportToFile({ client, file, format, from: 0 }), String(cut)).rejects.toThrow('ended early')
      expect(existsSync(file)).toBe(false)
    }
    await exportToFile({ client, file, format, from: 0 })
    expect(readFileSync(file).equals(wholeOf(format, 0, SIZE))).toBe(true)
    // It went on where it was.
    expect(Number(new URL(asked.at(-1) ?? '', 'https://x').searchParams.get('from'))).toBeGreaterThan(100)
  })

  it('ends where it was to end when it began', async () => {
    const file = join(folder, `range.${format}`)
    await expect(exportToFile({ client: service([50_000]), file, format, from: 7, to: 150 })).rejects.toThrow('ended early')
    await expect(exportToFile({ client: service([]), file, format, from: 8, to: 150 })).rejects.toThrow('of another export')
    await expect(exportToFile({ client: service([]), file, format, from: 7, to: 151 })).rejects.toThrow('of another export')
    expect(await exportToFile({ client: service([]), file, format, from: 7 })).toMatchObject({ from: 7, to: 150 })
    expect(readFileSync(file).equals(wholeOf(format, 7, 150))).toBe(true)
  })
})

describe('an export', () => {
  it('that ends short without an error is not taken for whole', async () => {
    const client: ExportJob['client'] = {
      get: service([]).get,
      stream: async function* () {
        await Promise.resolve()
        yield wholeOf('csv', 0, 10)
      } as unknown as ExportJob['client']['stream'],
    }
    const file = join(folder, 'short.csv')
    await expect(exportToFile({ client, file, format: 'csv', from: 0 })).rejects.toThrow('ended at entry 9')
    expect(existsSync(file)).toBe(false)
  })

  it('touches no unfinished file that it knows nothing of', async () => {
    const file = join(folder, 'foreign.csv')
    writeFileSync(`${file}.part`, 'mine')
    await expect(exportToFile({ client: service([]), file, format: 'csv', from: 0 })).rejects.toThrow('delete it')
    expect(readFileSync(`${file}.part`, 'utf8')).toBe('mine')
  })
})
