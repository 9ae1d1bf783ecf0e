import { closeSync, mkdirSync, mkdtempSync, openSync, rmSync, writeFileSync, writeSync } from 'node:fs'
import { availableParallelism, tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { Worker } from 'node:worker_threads'
import { verifyLog } from '../clients/audit-verify.ts'
import { newOperationId } from '../core/ids.ts'
import { type Checkpoint, checkpointText, logKey, signedNote } from '../policies/audit/checkpoint.ts'
import { encodeEntry } from '../policies/audit/entry.ts'
import { encodeExportLine } from '../policies/audit/export.ts'
import { encodeBundle } from '../policies/audit/group.ts'
import { append, EMPTY_EDGE, leafHash, rootOf } from '../policies/audit/merkle.ts'
import { softKeys } from '../policies/audit/testing/soft-keys.ts'
import { tilePath } from '../policies/audit/tile-path.ts'
import { OpenTiles, TILE_WIDTH } from '../policies/audit/tiles.ts'
import { utf8 } from '../core/bytes.ts'
import type { Options } from './options.ts'
import { type Report, type Result, result } from './report.ts'

/** Entries between two checkpoints of the export: as many as a busy second has. */
const SECOND = 5120
const GOAL = 200_000

interface MadeLog {
  readonly folder: string
  readonly vkey: string
  /** Of an entry, on average. */
  readonly entryBytes: number
}

/**
 * Offline verification of a whole log, from the folder of a mirror and from an export, by all cores. The limit is a bare loop of SHA-256 over entries of the same
 * length, in as many threads. `entries`: the log's length.
 */
export async function benchVerify(
  say: (line: string) => void,
  { entries = 500_000 }: { readonly entries?: number } = {},
): Promise<Pick<Report, 'results' | 'notes'>> {
  const folder = mkdtempSync(join(tmpdir(), 'gridseal-bench-'))
  try {
    say(`a log of ${entries.toLocaleString('en')} entries`)
    const made = await makeLog(folder, entries)
    const threads = availableParallelism()
    say('bare leaf hashes')
    const limit = await bareLeaves(threads, made.entryBytes)
    const results: Result[] = []
    const notes: string[] = []
    for (const [metric, log] of [
      ['verify', join(folder, 'log')],
      ['verify export', join(folder, 'log.ndjson')],
    ] as const) {
      say(metric)
      const [started, used] = [performance.now(), process.cpuUsage()]
      const report = await verifyLog({ log, vkey: made.vkey })
      const seconds = (performance.now() - started) / 1000
      const { user, system } = process.cpuUsage(used)
      if (!report.ok || report.size !== entries) throw new Error(`the log did not verify: ${JSON.stringify(report.findings[0])}`)
      results.push(result({ metric, value: entries / seconds, unit: 'entries/s', limit, ...(metric === 'verify' ? { goal: GOAL } : {}) }))
      notes.push(`${metric}: ${((user + system) / entries).toFixed(2)} µs of the ${threads} cores an entry of ${made.entryBytes.toFixed(0)} bytes`)
    }
    notes.push(`memory at most ${(process.resourceUsage().maxRSS / 1024).toFixed(0)} MiB`)
    return { results, notes }
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

export async function benchAuditVerification(say: (line: string) => void, options: Options): Promise<Report> {
  const entries = options.count('size')
  return { bench: 'audit-verify', ...(await benchVerify(say, entries === undefined ? {} : { entries })) }
}

const caller = { kind: 'module', name: 'billing', id: newOperationId(), certificate: 'ab'.repeat(32), address: '192.0.2.7' } as const
const decision = { effect: 'allow', rule: 'modules may sign', revision: '0123456789abcdef', at: 1_790_000_000_000, listener: 'tls' } as const

function entryOf(seq: number): Uint8Array {
  const [id, keyId] = [newOperationId(), newOperationId()]
  return encodeEntry(
    { kind: 'outcome', id, operation: 'kms.key.sign', caller, decision, code: 'ok', facts: { public: { keyId, algorithm: 'ec-p256', items: 1 } } },
    {
      time: new Date(1_790_000_000_000 + seq),
      writer: { slot: seq % 4, epoch: 1, seq: Math.floor(seq / 4) },
      effect: 'transient',
      salt: () => new Uint8Array(16),
    },
  ).bytes
}

/** A mirror in `log/`, and the export `log.ndjson`. */
async function makeLog(folder: string, count: number): Promise<MadeLog> {
  const keys = softKeys()
  const key = logKey('bench', keys.checkpointKey.algorithm, keys.checkpointKey.publicKey)
  const put = (path: string, bytes: Uint8Array | string): void => {
    const file = join(folder, 'log', path)
    mkdirSync(dirname(file), { recursive: true })
    writeFileSync(file, bytes)
  }
  const sign = async (checkpoint: Checkpoint): Promise<string> => {
    const text = checkpointText(checkpoint)
    return signedNote(text, key, await keys.signCheckpoint(utf8(text)))
  }
  const exported = openSync(join(folder, 'log.ndjson'), 'w')
  writeSync(exported, encodeExportLine({ kind: 'header', origin: key.name, vkey: key.vkey }))
  const open = new OpenTiles()
  let edge = EMPTY_EDGE
  let bytes = 0
  for (let from = 0; from < count; from += TILE_WIDTH) {
    const entries = Array.from({ length: Math.min(TILE_WIDTH, count - from) }, (_, at) => entryOf(from + at))
    bytes += entries.reduce((sum, { length }) => sum + length, 0)
    const full = open.grow((visit) => {
      edge = append(edge, entries.map(leafHash), visit)
    })
    for (const { level, index, hashes } of full) put(tilePath({ level, index, width: TILE_WIDTH }), hashes)
    put(tilePath({ level: 'entries', index: from / TILE_WIDTH, width: entries.length }), encodeBundle(entries))
    writeSync(exported, entries.map((entry, at) => encodeExportLine({ kind: 'entry', index: from + at, bytes: entry })).join(''))
    const isLast = from + TILE_WIDTH >= count
    if (!isLast && (from + TILE_WIDTH) % SECOND !== 0) continue
    const note = await sign({ origin: key.name, size: edge.size, root: rootOf(edge) })
    writeSync(exported, encodeExportLine({ kind: 'checkpoint', note }))
    if (isLast) put('checkpoint', note)
  }
  for (const { level, index, hashes } of open.partials) put(tilePath({ level, index, width: hashes.length / 32 }), hashes)
  closeSync(exported)
  return { folder, vkey: key.vkey, entryBytes: bytes / count }
}

/** Leaf hashes a second of as many threads, each in a bare loop. */
async function bareLeaves(threads: number, bytes: number): Promise<number> {
  const loop = `
    const { hash } = require('node:crypto')
    const { parentPort } = require('node:worker_threads')
    const entry = Buffer.alloc(${Math.round(bytes) + 1}, 7)
    const run = (ms) => {
      const until = performance.now() + ms
      let count = 0
      for (; performance.now() < until; count += 1000) for (let at = 0; at < 1000; at += 1) hash('sha256', entry, 'buffer')
      return count / ms * 1000
    }
    run(200)
    parentPort.postMessage(run(2000))`
  const rates = await Promise.all(
    Array.from(
      { length: threads },
      () =>
        new Promise<number>((resolve, reject) => {
          const worker = new Worker(loop, { eval: true, execArgv: [] })
          worker.once('message', resolve)
          worker.once('error', reject)
        }),
    ),
  )
  return rates.reduce((sum, rate) => sum + rate, 0)
}
