import { randomBytes } from 'node:crypto'
import { newOperationId } from '../core/ids.ts'
import type { Sql } from '../core/tx.ts'
import { encodeEntry } from '../policies/audit/entry.ts'
import { encodeBundle, groupMessage, nextChain, startChain } from '../policies/audit/group.ts'
import type { AuditFeature, AuditKeys } from '../policies/audit/index.ts'
import type { EntryDraft } from '../policies/audit/log.ts'

/** Entries of one group: about what a busy service commits at once. */
export const GROUP_ENTRIES = 64
/** Groups of one statement, and entries that are made before the sequencer is let at them. */
const [GROUPS_AT_ONCE, BATCH] = [50, 64_000]

/** Whole numbers that look random and are the same each time: a finalizer of 32 bits over place and name. */
function numberOf(at: number, what: string, below: number): number {
  let hash = at
  for (let place = 0; place < what.length; place += 1) hash = Math.imul(hash ^ what.charCodeAt(place), 0x01000193)
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b)
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35)
  return ((hash ^ (hash >>> 16)) >>> 0) % below
}

const OPERATIONS = ['kms.key.verify', 'kms.key.encrypt', 'kms.key.decrypt', 'attestation.card.challenge', 'attestation.card.answer', 'kms.certificate.issue']
const [MODULES, ADDRESSES, KEYS, RULES, DAYS] = [40, 250, 5000, 30, 90]
/** One in so many entries is what its two terms together are not: a caller who does what it never does. */
const STRAY = 20_000

export const signs = (module: number): boolean => module % 2 === 0
export const keyAt = (key: number): string => `0198f2c1-7a40-7c3e-9d52-${String(key).padStart(12, '0')}`
export const timeAt = (at: number, size: number): Date => new Date(Date.UTC(2026, 7, 1) + Math.floor((at / size) * DAYS * 86_400_000))

/** Entry `at` of a log of `size`: modules that use keys, of which even ones sign and odd ones do other things. */
function draftAt(at: number): EntryDraft {
  const module = numberOf(at, 'module', MODULES)
  const isStray = numberOf(at, 'stray', STRAY) === 0
  const operation = signs(module) !== isStray ? 'kms.key.sign' : (OPERATIONS[numberOf(at, 'operation', OPERATIONS.length)] ?? '')
  const keyId = keyAt(numberOf(at, 'key', KEYS))
  const code = numberOf(at, 'code', 100) < 97 ? 'ok' : numberOf(at, 'code', 1000) === 999 ? 'integrity-failed' : 'forbidden'
  return {
    kind: code === 'forbidden' ? 'refusal' : 'outcome',
    id: newOperationId(),
    operation,
    caller: {
      ...{ kind: 'module', name: `module-${module}`, id: keyAt(100_000 + module), certificate: 'ab'.repeat(32) },
      address: `10.${module}.0.${numberOf(at, 'address', ADDRESSES)}`,
    },
    decision: {
      ...{
        effect: code === 'forbidden' ? 'deny' : 'allow',
        rule: `rule-${numberOf(at, 'rule', RULES)}`,
        revision: `${1 + Math.floor(at / 1_000_000)}`.padStart(16, '0'),
      },
      ...{ at: Date.now(), listener: 'tls', strength: 'certificate', zones: [module < 30 ? 'headquarters' : 'provinces'] },
    },
    uses: [{ action: 'sign', keyId: keyId as never }],
    code,
    facts: { public: { keyId, algorithm: 'ec-p256', items: 1 } },
  }
}

/**
 * Adds `size` entries to the log: made by the real encoder in groups of {@link GROUP_ENTRIES} with real chains and MACs, inserted in bulk under a writer of their own, then sequenced,
 * signed and indexed by the log itself.
 */
export async function fillLog({
  sql,
  keys,
  audit,
  size,
  say,
}: {
  readonly sql: Sql
  readonly keys: AuditKeys
  readonly audit: AuditFeature
  readonly size: number
  readonly say: (line: string) => void
}): Promise<void> {
  const [slot, epoch] = [900, 1]
  await sql.query('INSERT INTO audit_writers (writer, epoch) VALUES ($1, $2)', [slot, epoch])
  let [chain, seq] = [startChain(slot, epoch), 0]
  const write = async (to: number): Promise<void> => {
    while (seq < to) {
      const rows: { firstSeq: number; count: number; bundle: Uint8Array; chain: Uint8Array; mac: Uint8Array }[] = []
      for (; rows.length < GROUPS_AT_ONCE && seq < to; ) {
        const count = Math.min(GROUP_ENTRIES, to - seq)
        const bytes = Array.from({ length: count }, (_, at) => {
          const writer = { slot, epoch, seq: seq + at }
          return encodeEntry(draftAt(seq + at), { time: timeAt(seq + at, size), writer, effect: 'transient', salt: () => randomBytes(16) }).bytes
        })
        const bundle = encodeBundle(bytes)
        chain = nextChain(chain, bundle)
        rows.push({ firstSeq: seq, count, bundle, chain, mac: await keys.macGroup(groupMessage({ writer: slot, epoch, firstSeq: seq, count, chain })) })
        seq += count
      }
      const column = <Key extends keyof (typeof rows)[number]>(key: Key) => rows.map((row) => row[key])
      await sql.query(
        `INSERT INTO audit_groups (writer, epoch, first_seq, count, bundle, chain, mac)
         SELECT $1, $2, g.* FROM unnest($3::bigint[], $4::int[], $5::bytea[], $6::bytea[], $7::bytea[]) AS g`,
        [slot, epoch, column('firstSeq'), column('count'), column('bundle'), column('chain'), column('mac')],
      )
    }
  }
  // The log's own leader sequences and indexes beside this; what it has not indexed then is indexed here.
  for (let from = 0; from < size; from += BATCH) {
    await Promise.all([write(Math.min(size, from + BATCH)), audit.flush()])
    if (Math.floor(from / 500_000) !== Math.floor((from + BATCH) / 500_000)) say(`${from + BATCH} entries`)
  }
  await audit.flush()
  await audit.index.complete()
}
