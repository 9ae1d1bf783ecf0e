import { hash } from 'node:crypto'
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync, writeSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DELETED, digestRow, type Row, type RowDigest } from '../../core/row.ts'
import { ROW_RULES, type RowRule } from './row-rules.ts'

/** A row as a table has it. */
export interface Standing {
  readonly version: number
  /** The first 16 bytes of its digest, hex. */
  readonly digest: string
  /** Whether the token made its MAC. */
  readonly isSealed: boolean
}

/** A version of a row as an entry has it. */
export interface Naming {
  readonly version: number
  /** As of a {@link Standing}; zeros where the entry says that it is deleted. */
  readonly digest: string
  readonly index: number
  /** Whether it may be gone by now, by the rule of its table. */
  readonly mayBeGone: boolean
}

/** All that was written of one row. */
export interface Page {
  /** What the row is known by: see {@link keyOf}. */
  readonly key: string
  readonly table: string
  readonly standing: Standing | undefined
  readonly namings: readonly Naming[]
}

/** Hex of 16 bytes, of table and id; of tables that keep versions of the version too. */
export const keyOf = ({ table, id, version }: Pick<RowDigest, 'table' | 'id' | 'version'>): string =>
  hash('sha256', ROW_RULES[table]?.keepsVersions === true ? `${table}\u0000${id}\u0000${version}` : `${table}\u0000${id}`, 'hex').slice(0, 32)

const BUCKETS = 256
const BUFFER_BYTES = 16_384
/** key 16, kind 1, table 1, version 6, digest 16, index 6. */
const RECORD_BYTES = 46
const [UNSEALED, SEALED, NAMED, NAMED_MAY_BE_GONE] = [0, 1, 2, 3] as const
/** Of 6 bytes. A version that is none is of an edited row. */
const MOST_VERSION = 2 ** 48 - 1
const NO_DIGEST = '0'.repeat(32)

interface Bucket {
  readonly path: string
  file: number | undefined
  readonly buffer: Buffer
  used: number
}

/**
 * Everything that tables and log say of rows, sorted into files by a hash of the row, so that any number of rows is compared with the memory of one file of 256. The
 * files lie in a folder of their own, and hold hashes alone.
 */
export class RowBook {
  readonly #folder = mkdtempSync(join(tmpdir(), 'gridseal-integrity-'))
  readonly #tables: string[] = []
  readonly #numbers = new Map<string, number>()
  readonly #buckets: readonly Bucket[] = Array.from({ length: BUCKETS }, (_, at) => ({
    ...{ path: join(this.#folder, String(at)), file: undefined, buffer: Buffer.alloc(BUFFER_BYTES), used: 0 },
  }))

  /** A row that a table has. */
  stand(row: Row, isSealed: boolean): void {
    const named = digestRow(row)
    this.#write({ kind: isSealed ? SEALED : UNSEALED, named, digest: shortDigest(named.digest), index: 0 })
  }

  /** A row that the entry at this index names. `ageMs`: of the entry. */
  name(named: RowDigest, { index, ageMs }: { readonly index: number; readonly ageMs: number }): void {
    const rule: RowRule | undefined = ROW_RULES[named.table]
    if (rule?.isUnlogged === true) return
    const mayBeGone = rule?.endsAfterMs !== undefined && ageMs >= rule.endsAfterMs
    this.#write({ kind: mayBeGone ? NAMED_MAY_BE_GONE : NAMED, named, digest: shortDigest(named.digest), index })
  }

  /** Everything about one row after another, in no order. */
  *pages(): Generator<Page> {
    for (const bucket of this.#buckets) {
      this.#flush(bucket)
      if (bucket.file === undefined) continue
      yield* this.#read(readFileSync(bucket.path))
    }
  }

  close(): void {
    for (const { file } of this.#buckets) if (file !== undefined) closeSync(file)
    rmSync(this.#folder, { recursive: true, force: true })
  }

  *#read(bytes: Buffer): Generator<Page> {
    const rows = new Map<string, { table: string; standing: Standing | undefined; namings: Naming[] }>()
    for (let at = 0; at < bytes.length; at += RECORD_BYTES) {
      const key = bytes.toString('hex', at, at + 16)
      const kind = bytes.readUInt8(at + 16)
      const page = rows.get(key) ?? { table: this.#tables[bytes.readUInt8(at + 17)] ?? '', standing: undefined, namings: [] }
      const common = { version: bytes.readUIntBE(at + 18, 6), digest: bytes.toString('hex', at + 24, at + 40) }
      if (kind === SEALED || kind === UNSEALED) page.standing = { ...common, isSealed: kind === SEALED }
      else page.namings.push({ ...common, index: bytes.readUIntBE(at + 40, 6), mayBeGone: kind === NAMED_MAY_BE_GONE })
      rows.set(key, page)
    }
    for (const [key, page] of rows) yield { key, ...page }
  }

  #write({ kind, named, digest, index }: { readonly kind: number; readonly named: RowDigest; readonly digest: string; readonly index: number }): void {
    const key = keyOf(named)
    const bucket = this.#buckets[Number.parseInt(key.slice(0, 2), 16)]
    if (bucket === undefined) return
    if (bucket.used + RECORD_BYTES > BUFFER_BYTES) this.#flush(bucket)
    const { buffer, used } = bucket
    buffer.write(key, used, 'hex')
    buffer.writeUInt8(kind, used + 16)
    buffer.writeUInt8(this.#numberOf(named.table), used + 17)
    buffer.writeUIntBE(Number.isSafeInteger(named.version) ? Math.min(Math.max(0, named.version), MOST_VERSION) : 0, used + 18, 6)
    buffer.write(digest, used + 24, 'hex')
    buffer.writeUIntBE(index, used + 40, 6)
    bucket.used += RECORD_BYTES
  }

  #numberOf(table: string): number {
    const known = this.#numbers.get(table)
    if (known !== undefined) return known
    const number = this.#tables.push(table) - 1
    if (number > 255) throw new RangeError('the log names rows of more than 256 tables')
    this.#numbers.set(table, number)
    return number
  }

  #flush(bucket: Bucket): void {
    if (bucket.used === 0) return
    bucket.file ??= openSync(bucket.path, 'w', 0o600)
    writeSync(bucket.file, bucket.buffer, 0, bucket.used)
    bucket.used = 0
  }
}

const shortDigest = (digest: string): string => (digest === DELETED ? NO_DIGEST : Buffer.from(digest, 'base64url').toString('hex').slice(0, 32).padEnd(32, '0'))

/** What is wrong with a row, if anything is. `began`: entries before it were committed before any table was read. */
export function judgeRow(
  { table, standing, namings }: Page,
  began: number,
): 'row-edited' | 'row-replayed' | 'row-deleted' | 'row-added' | 'row-differs' | undefined {
  const rule: RowRule = ROW_RULES[table] ?? { why: '' }
  const newest = namings.reduce<Naming | undefined>((a, b) => (b.index < began && (a === undefined || b.version > a.version) ? b : a), undefined)
  const since = namings.filter(({ index }) => index >= began)
  if (standing === undefined) {
    const isRight = newest === undefined || newest.mayBeGone || [newest, ...since].some(isDeletion)
    return isRight ? undefined : 'row-deleted'
  }
  if (!standing.isSealed) return 'row-edited'
  if (rule.isUnlogged === true) return undefined
  const isSame = (one: Naming): boolean => one.version === standing.version && one.digest === standing.digest
  if ((newest !== undefined && isSame(newest)) || since.some(isSame)) return undefined
  if (namings.length === 0) return rule.mayBeUnnamed === true ? undefined : 'row-added'
  if (namings.some((one) => one.version === standing.version && !isSame(one))) return 'row-differs'
  return namings.some((one) => one.version > standing.version) ? 'row-replayed' : 'row-differs'
}

const isDeletion = ({ digest }: Naming): boolean => digest === NO_DIGEST
