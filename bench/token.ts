import { randomBytes } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { performance } from 'node:perf_hooks'
import { setTimeout as sleep } from 'node:timers/promises'
import { type KeyId, keyId, newUuid } from '../core/ids.ts'
import { keyRow } from '../kms/keys/key.ts'
import { BARE_AAD_BYTES, BARE_BATCH, BARE_CACHED_KEYS, BARE_MESSAGE_BYTES, BARE_PLAINTEXT_BYTES, bareLoop, type BareLoopName } from '../pkcs11/bare-loop.ts'
import { entryUrl } from '../pkcs11/child.ts'
import type { KeyAlgorithm, StoredKey } from '../pkcs11/index.ts'
import { type OpenHsm, openLanes } from '../pkcs11/open.ts'
import { type FillFixture, fillFixture } from '../pkcs11/testing/fill-fixture.ts'
import type { KeyAction, Permit } from '../policies/permit.ts'
import { withTestPermit } from '../policies/testing/memory-gate.ts'
import { type Report, type Result, result } from './report.ts'

/** Each work is measured so often, by turns with its bare loop, and the round of the median ratio is reported: what shares the machine comes and goes. */
const ROUNDS = 3
const SECONDS = 2
/** What a new process needs until its code is compiled. */
const WARM_SECONDS = 1.5
/** Batches under way at a time, of each lane: while it works at one, the answers of another are taken. */
const BATCHES = 2
const STORED_KEYS = 10_000
const BUSY_RATE = 15_000
const BUSY_SECONDS = 6
/** More batches than these do not wait at a lane: one that is too slow sets the pace. */
const MOST_WAITING = 8

/** One token, which every measurement opens anew. */
interface Site {
  readonly folder: string
  readonly cards: FillFixture
  /** 10,000 P-256 keys, each of its own value. */
  readonly stored: readonly StoredKey[]
}
type Opened = Pick<Awaited<ReturnType<typeof openLanes>>, 'open' | 'lanes'>

/** Does one batch; by the number of those before it. Answers how many units it was. */
type Batch = (at: number) => Promise<number>

interface Work {
  readonly metric: BareLoopName
  readonly unit: string
  readonly about: string
  readonly batches: (site: Site, opened: Opened) => Promise<Batch>
}

const WORKS: readonly Work[] = [
  {
    metric: 'sign',
    unit: 'signatures/s',
    about: 'P-256 over SHA-256, which the service computes; a key for each lane',
    batches: (_site, opened) => batchesOf(opened, 'ec-p256', 'sign', (permit, key) => opened.open.hsm.sign(permit, key, MESSAGES)),
  },
  {
    metric: 'cmac',
    unit: 'MACs/s',
    about: `AES-256-CMAC of ${String(BARE_MESSAGE_BYTES)} bytes; a key for each lane`,
    batches: (_site, opened) => batchesOf(opened, 'aes-cmac-256', 'mac', (permit, key) => opened.open.hsm.mac(permit, key, MESSAGES)),
  },
  {
    metric: 'gcm',
    unit: 'encryptions/s',
    about: `AES-256-GCM of ${String(BARE_PLAINTEXT_BYTES)} bytes with ${String(BARE_AAD_BYTES)} of AAD, the IVs of a batch by one C_GenerateRandom; a key for each lane`,
    batches: (_site, opened) => batchesOf(opened, 'aes-gcm-256', 'encrypt', (permit, key) => opened.open.hsm.encrypt(permit, key, PLAINTEXTS)),
  },
  {
    metric: 'derive-wrap',
    unit: 'keys/s',
    about: 'one card key by KDF3 under a transport key, as filling makes it: C_DeriveKey, two flags read back, its KCV, C_WrapKey, C_DestroyObject',
    batches: (site, opened) => Promise.resolve(derivedKeys(site, opened)),
  },
  {
    metric: 'unwrap-sign',
    unit: 'signatures/s',
    about: `a P-256 key of ${STORED_KEYS.toLocaleString('en')} by turns through a cache of ${BARE_CACHED_KEYS.toLocaleString('en')}, so that each use checks a row's MAC, unwraps, reads two flags back, signs once, and ends the oldest`,
    batches: (site, opened) => Promise.resolve(signaturesOfMany(site, opened)),
  },
]

const MESSAGES = Array.from({ length: BARE_BATCH }, () => randomBytes(BARE_MESSAGE_BYTES))
const PLAINTEXTS = Array.from({ length: BARE_BATCH }, () => ({ plaintext: randomBytes(BARE_PLAINTEXT_BYTES), aad: randomBytes(BARE_AAD_BYTES) }))

/** The verbs of lanes, without HTTP, database and log, each beside a bare loop of the same C_ calls in one thread, on the same token. */
export async function benchToken(say: (line: string) => void): Promise<Report> {
  const folder = mkdtempSync(join(tmpdir(), 'gridseal-bench-'))
  try {
    say(`${STORED_KEYS.toLocaleString('en')} P-256 keys ...`)
    const site = await withLanes(
      folder,
      2,
      async ({ open }): Promise<Site> => ({
        folder,
        cards: await fillFixture({ ...open, folder }),
        stored: await manyKeys(open, STORED_KEYS),
      }),
    )
    const results: Result[] = []
    for (const work of WORKS) results.push(...(await measure(site, work, say)))
    say(`main loop: ${BUSY_RATE.toLocaleString('en')} signatures a second ...`)
    const busy = await withLanes(folder, 1, (opened) => mainLoop(site, opened))
    results.push(result({ metric: 'main loop busy at 15,000/s', value: (busy.percent * BUSY_RATE) / busy.rate, unit: '%', goal: 20, goalIs: 'at-most' }))
    return {
      bench: 'token',
      results,
      notes: [
        `Batches of ${String(BARE_BATCH)}, ${String(BATCHES)} under way for each lane; the median of ${String(ROUNDS)} rounds of ${String(SECONDS)} s. Limits: one thread that does the same C_ calls and nothing else. Every measurement is of new processes.`,
        ...WORKS.map(({ metric, about }) => `${metric}: ${about}.`),
        `main loop: the share of time that the process of the service is not idle; hashing, rows and messages are in it, HTTP and the log are not. The lane signed ${Math.round(busy.rate).toLocaleString('en')} a second.`,
      ],
    }
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

/** Lanes that are as new as the process of a bare loop: every key that SoftHSM has made in a process, and ended, makes the next ones a little slower. */
async function withLanes<Answer>(dataFolder: string, lanes: number, work: (opened: Opened) => Promise<Answer>): Promise<Answer> {
  const opened = await openLanes({ dataFolder, lanes, cachedKeys: BARE_CACHED_KEYS }, entryUrl('lane-process'))
  try {
    return await work(opened)
  } finally {
    await opened.open.close()
  }
}

async function measure(site: Site, { metric, unit, batches }: Work, say: (line: string) => void): Promise<Result[]> {
  say(`${metric}: ${String(ROUNDS)} rounds of a bare loop, one lane, two lanes ...`)
  const keys = { master: site.cards.master.id, transportKey: site.cards.transportKeyId }
  const by = (lanes: number): Promise<number> => withLanes(site.folder, lanes, async (opened) => rate(await batches(site, opened), lanes * BATCHES))
  const rounds: (readonly [bare: number, one: number, two: number])[] = []
  for (let round = 0; round < ROUNDS; round++) {
    rounds.push([await bareLoop({ dataFolder: site.folder, loop: metric, seconds: SECONDS, keys }), await by(1), await by(2)])
  }
  const typical = (column: 1 | 2): { readonly value: number; readonly limit: number } => {
    const [limit = 0, ...values] = rounds.toSorted((a, b) => a[column] / a[0] - b[column] / b[0])[Math.floor(ROUNDS / 2)] ?? []
    return { value: values[column - 1] ?? 0, limit }
  }
  return [result({ metric, unit, ...typical(1), goal: 0.95 }), result({ metric: `${metric}, two lanes`, unit, ...typical(2), goal: 1.7, goalIs: 'ratio' })]
}

/** Units a second, so many batches at a time. */
async function rate(batch: Batch, parallel: number): Promise<number> {
  let at = 0
  const run = async (seconds: number): Promise<number> => {
    const start = performance.now()
    let done = 0
    const one = async (): Promise<void> => {
      while (performance.now() - start < seconds * 1000) {
        // In two steps: `done += await` would add to what it was before the others added to it.
        const more = await batch(at++)
        done += more
      }
    }
    await Promise.all(Array.from({ length: parallel }, one))
    return done / ((performance.now() - start) / 1000)
  }
  await run(WARM_SECONDS)
  return run(SECONDS)
}

/** How busy this process is, in percent, while its lane signs at the given rate, and the rate that was reached. */
async function mainLoop({ stored: [key] }: Site, { open }: Opened): Promise<{ readonly percent: number; readonly rate: number }> {
  if (key === undefined) throw new Error('no key')
  const everyMs = (1000 * BARE_BATCH) / BUSY_RATE
  const wanted = Math.floor((1000 * BUSY_SECONDS) / everyMs)
  return withTestPermit([{ action: 'sign', keyId: key.id }], async (permit) => {
    await open.hsm.sign(permit, key, MESSAGES)
    const [start, before] = [performance.now(), performance.eventLoopUtilization()]
    const waiting = new Set<Promise<unknown>>()
    for (let batch = 0; batch < wanted; batch++) {
      const dueMs = start + batch * everyMs - performance.now()
      if (dueMs > 0) await sleep(dueMs)
      while (waiting.size >= MOST_WAITING) await Promise.race(waiting)
      const signing: Promise<unknown> = open.hsm.sign(permit, key, MESSAGES).finally(() => waiting.delete(signing))
      waiting.add(signing)
    }
    await Promise.all(waiting)
    const seconds = (performance.now() - start) / 1000
    return { percent: 100 * performance.eventLoopUtilization(before).utilization, rate: (wanted * BARE_BATCH) / seconds }
  })
}

/** Batches of a verb by keys of the database, one at home in each lane, by turns. */
async function batchesOf(
  { open, lanes }: Opened,
  algorithm: KeyAlgorithm,
  action: KeyAction,
  use: (permit: Permit, key: StoredKey) => Promise<readonly unknown[]>,
): Promise<Batch> {
  const ids = lanes.all.map((lane) => {
    for (;;) {
      const id = keyId(newUuid())
      if (lanes.of(id) === lane) return id
    }
  })
  const keys = await Promise.all(ids.map((id) => newKey(open, id, algorithm)))
  return async (at) => {
    const key = keys[at % keys.length] as StoredKey
    return (await withTestPermit([{ action, keyId: key.id }], (permit) => use(permit, key))).length
  }
}

function derivedKeys({ cards: { master, operatorKey, transportKeyId } }: Site, { open: { hsm } }: Opened): Batch {
  const plan = [{ purpose: 'gp-enc', source: { kind: 'derived', type: 1 }, kcv: 'aes-gp' }] as const
  const uses = [
    { action: 'derive', keyId: master.id },
    { action: 'wrap', keyId: transportKeyId },
    { action: 'unwrap', keyId: operatorKey.id },
  ] as const
  return async (at) => {
    const kdds = Array.from({ length: BARE_BATCH }, (_, card) => {
      const kdd = Buffer.alloc(10, 0x98)
      kdd.writeUInt32BE(at * BARE_BATCH + card, 4)
      return kdd
    })
    return (await withTestPermit(uses, (permit) => hsm.fillCards(permit, { master, operatorKey, transportKeyId, plan, kdds }))).length
  }
}

/** Each key once in a round of all: it was used so long ago that no lane has it any more. */
function signaturesOfMany({ stored }: Site, { open: { hsm } }: Opened): Batch {
  let next = 0
  return async () => {
    const keys = Array.from({ length: BARE_BATCH }, () => stored[next++ % stored.length] as StoredKey)
    const uses = keys.map(({ id }) => ({ action: 'sign', keyId: id }) as const)
    return (await withTestPermit(uses, (permit) => Promise.all(keys.map((key, at) => hsm.sign(permit, key, [MESSAGES[at] as Uint8Array]))))).length
  }
}

async function manyKeys(open: OpenHsm, count: number): Promise<StoredKey[]> {
  const keys: StoredKey[] = []
  while (keys.length < count) keys.push(...(await Promise.all(Array.from({ length: BARE_BATCH }, () => newKey(open, keyId(newUuid()), 'ec-p256')))))
  return keys.slice(0, count)
}

/** A key as a module has it, with its whole row. */
async function newKey({ hsm, integrity }: OpenHsm, id: KeyId, algorithm: KeyAlgorithm): Promise<StoredKey> {
  const made = await withTestPermit([{ action: 'generate', keyId: id }], (permit) => hsm.generate(permit, id, algorithm))
  const of = { owner: 'urn:gridseal:module:bench', label: 'bench', keyVersion: 1, state: 'active', createdAt: new Date() } as const
  const { columns, ...rest } = keyRow({ ...of, ...made, id, version: 2, algorithm: 'ec-p256' })
  const row = { ...rest, columns: { ...columns, algorithm } }
  const [mac = new Uint8Array()] = await integrity.macRows([row])
  return { id, sealed: { row, mac } }
}
