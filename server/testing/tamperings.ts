import type { Sql } from '../../core/tx.ts'
import type { Victim } from './tampering-site.ts'

/** Random numbers that come again: mulberry32. */
export class Random {
  #state: number

  constructor(seed: number) {
    this.#state = seed >>> 0
  }

  /** 0 to `below` - 1. */
  below(below: number): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(this.#state ^ (this.#state >>> 15), 1 | this.#state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return Math.floor((((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296) * below)
  }

  of<Item>(items: readonly Item[]): Item {
    const item = items[this.below(items.length)]
    if (item === undefined) throw new Error('there is nothing to choose from')
    return item
  }
}

type Tamper = (victim: Victim, random: Random) => Promise<void>

const GROUP = ['writer', 'epoch', 'first_seq'] as const
const SEQUENCED = `FROM audit_groups g JOIN audit_sequenced s USING (writer, epoch) WHERE g.first_seq < s.next_seq`
const UNSEQUENCED = `FROM audit_groups g LEFT JOIN audit_sequenced s USING (writer, epoch) WHERE g.first_seq >= coalesce(s.next_seq, 0)`
const PLACES = (from: string): string => `SELECT writer, epoch, first_seq::int AS first_seq, g.count ${from} ORDER BY writer, epoch, first_seq`
const IS = 'writer = $1 AND epoch = $2 AND first_seq = $3'

interface Place {
  readonly writer: number
  readonly epoch: number
  readonly first_seq: number
  readonly count: number
}
const keyOf = (place: Place): readonly number[] => GROUP.map((column) => place[column])

/** As the owner who hides what they did: past the triggers, which are as before afterwards. */
async function past(sql: Sql, table: string, work: () => Promise<unknown>): Promise<void> {
  await sql.query(`ALTER TABLE ${table} DISABLE TRIGGER USER`)
  try {
    await work()
  } finally {
    await sql.query(`ALTER TABLE ${table} ENABLE TRIGGER USER`)
  }
}

const groups = (sql: Sql, from: string): Promise<Place[]> => sql.query<Place>(PLACES(from))

const changeGroup =
  (from: string): Tamper =>
  async ({ db: { ownerSql } }, random) => {
    const place = random.of(await groups(ownerSql, from))
    const [row] = await ownerSql.query<{ bundle: Buffer }>(`SELECT bundle FROM audit_groups WHERE ${IS}`, keyOf(place))
    const bundle = Buffer.from(row?.bundle ?? '')
    const at = 2 + random.below(bundle.length - 2)
    bundle[at] = (bundle[at] ?? 0) ^ (1 << random.below(7))
    await past(ownerSql, 'audit_groups', () => ownerSql.query(`UPDATE audit_groups SET bundle = $4 WHERE ${IS}`, [...keyOf(place), bundle]))
  }

const deleteGroups = ({ ownerSql }: Victim['db'], places: readonly Place[]): Promise<void> =>
  past(ownerSql, 'audit_groups', async () => {
    for (const place of places) await ownerSql.query(`DELETE FROM audit_groups WHERE ${IS}`, keyOf(place))
  })

/** Unsequenced groups of the epoch that has most of them. */
async function tailOf(sql: Sql): Promise<Place[]> {
  const places = await groups(sql, UNSEQUENCED)
  const sizes = new Map<string, Place[]>()
  for (const place of places) sizes.set(`${place.writer}/${place.epoch}`, [...(sizes.get(`${place.writer}/${place.epoch}`) ?? []), place])
  return [...sizes.values()].sort((a, b) => b.length - a.length)[0] ?? []
}

/** The unsequenced group that names a row. */
const newestWithRows = (sql: Sql): Promise<Place[]> => groups(sql, `${UNSEQUENCED} AND position('"rows":'::bytea IN g.bundle) > 0`)

const INDEX_COLUMNS = 'operation_id, writer, epoch, seq, group_seq'

async function flipHash(
  sql: Sql,
  random: Random,
  { table, column, where, values }: { readonly table: string; readonly column: string; readonly where: string; readonly values: readonly unknown[] },
): Promise<void> {
  const [row] = await sql.query<{ bytes: Buffer }>(`SELECT ${column} AS bytes FROM ${table} WHERE ${where}`, values)
  const bytes = Buffer.from(row?.bytes ?? '')
  const at = random.below(bytes.length)
  bytes[at] = (bytes[at] ?? 0) ^ (1 << random.below(8))
  await past(sql, table, () => sql.query(`UPDATE ${table} SET ${column} = $${values.length + 1} WHERE ${where}`, [...values, bytes]))
}

/** Tables of the log, as the earlier database has them. */
const LOG_TABLES = [
  'audit_groups',
  'audit_writers',
  'audit_sequenced',
  'audit_head',
  'audit_entries',
  'audit_tiles',
  'audit_partial_tiles',
  'audit_checkpoints',
] as const

async function cutTail({ db: { ownerSql }, earlier }: Victim): Promise<void> {
  for (const table of LOG_TABLES) {
    const rows = await earlier<{ row: object }>(`SELECT to_jsonb(t) AS row FROM ${table} t`)
    await past(ownerSql, table, async () => {
      await ownerSql.query(`DELETE FROM ${table}`)
      await ownerSql.query(`INSERT INTO ${table} SELECT (jsonb_populate_record(NULL::${table}, r)).* FROM unnest($1::jsonb[]) AS r`, [
        rows.map(({ row }) => JSON.stringify(row)),
      ])
    })
  }
}

const PRIMARY_KEY = `SELECT a.attname AS column FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = ANY(i.indkey) WHERE i.indrelid = $1::regclass AND i.indisprimary`
const COLUMNS = `SELECT attname AS column FROM pg_attribute WHERE attrelid = $1::regclass AND attnum > 0 AND NOT attisdropped`
const columnsOf = async (sql: Sql, query: string, table: string): Promise<string[]> =>
  (await sql.query<{ column: string }>(query, [table])).map(({ column }) => column)

/** Whole old rows, with their MACs, of rows that have changed since, or are gone. */
const replayIn =
  (tables: readonly string[]): Tamper =>
  async ({ db: { ownerSql }, earlier }, random) => {
    const candidates: { readonly table: string; readonly row: object }[] = []
    for (const table of tables) {
      const key = (await columnsOf(ownerSql, PRIMARY_KEY, table)).join(', ')
      const rows = await earlier<{ row: object; key: string }>(
        `SELECT to_jsonb(t) AS row, (SELECT row_to_json(k)::text FROM (SELECT ${key}) k) AS key FROM ${table} t`,
      )
      const now = await ownerSql.query<{ row: object; key: string }>(
        `SELECT to_jsonb(t) AS row, (SELECT row_to_json(k)::text FROM (SELECT ${key}) k) AS key FROM ${table} t`,
      )
      const standing = new Map(now.map((one) => [one.key, JSON.stringify(one.row)]))
      for (const one of rows) if (standing.get(one.key) !== JSON.stringify(one.row)) candidates.push({ table, row: one.row })
    }
    const { table, row } = random.of(candidates)
    const [key, columns] = [await columnsOf(ownerSql, PRIMARY_KEY, table), await columnsOf(ownerSql, COLUMNS, table)]
    await past(ownerSql, table, () =>
      ownerSql.query(
        `INSERT INTO ${table} SELECT (jsonb_populate_record(NULL::${table}, $1::jsonb)).* ON CONFLICT (${key.join(', ')}) DO UPDATE SET ${columns.map((column) => `${column} = excluded.${column}`).join(', ')}`,
        [JSON.stringify(row)],
      ),
    )
  }

/** A row that no other refers to. */
const deleteIn =
  (tables: readonly string[]): Tamper =>
  async ({ db: { ownerSql } }, random) => {
    for (let tries = 0; ; tries += 1) {
      const table = random.of(tables)
      const rows = await ownerSql.query<{ at: string }>(`SELECT ctid::text AS at FROM ${table} ORDER BY ctid`)
      if (rows.length === 0 && tries < 50) continue
      try {
        await past(ownerSql, table, () => ownerSql.query(`DELETE FROM ${table} WHERE ctid = $1::tid`, [random.of(rows).at]))
        return
      } catch (error) {
        if ((error as { readonly code?: string }).code !== '23503' || tries > 50) throw error
      }
    }
  }

const editIn =
  (tables: readonly string[]): Tamper =>
  async ({ db: { ownerSql } }, random) => {
    const table = random.of(tables)
    const rows = await ownerSql.query<{ at: string }>(`SELECT ctid::text AS at FROM ${table} ORDER BY ctid`)
    await flipHash(ownerSql, random, { table, column: 'mac', where: 'ctid = $1::tid', values: [random.of(rows).at] })
  }

/** Of these there are rows at the site. */
const SEALED = [
  ...[
    'kms_keys',
    'certificates',
    'crls',
    'attestation_nonces',
    'attestation_sqn',
    'admissions',
    'grants',
    'holds',
    'hold_approvals',
    'policy_activations',
    'callers',
    'persons',
  ],
  ...['bootstrap', 'vendors', 'transport_keys', 'orders', 'order_chunks', 'cards', 'deliveries', 'card_profiles', 'card_masters'],
] as const
const CHANGED = ['certificates', 'crls', 'attestation_nonces', 'attestation_sqn', 'grants', 'holds', 'hold_inputs', 'callers', 'orders', 'deliveries'] as const
const DELETED = [
  'kms_keys',
  'certificates',
  'attestation_nonces',
  'attestation_sqn',
  'admissions',
  'grants',
  'hold_approvals',
  'policy_activations',
  'callers',
  'cards',
  'deliveries',
  'bootstrap',
] as const

const doing =
  (...statements: readonly string[]): Tamper =>
  async ({ db: { ownerSql } }) => {
    for (const statement of statements) await ownerSql.query(statement)
  }
const oneOf =
  (...tampers: readonly Tamper[]): Tamper =>
  (victim, random) =>
    random.of(tampers)(victim, random)

/** What the owner of the database does, by the name that it has in docs/integrity.md. Each is done at random. */
export const TAMPERINGS: Readonly<Record<string, Tamper>> = {
  'an entry is changed': changeGroup(SEQUENCED),
  'an entry is removed': async ({ db }, random) => deleteGroups(db, [random.of(await groups(db.ownerSql, SEQUENCED))]),
  'entries are swapped': async ({ db: { ownerSql } }, random) => {
    const all = await groups(ownerSql, SEQUENCED)
    const others = (one: Place): Place[] => all.filter((other) => other !== one && other.count === one.count)
    const first = random.of(all.filter((one) => others(one).length > 0))
    const second = random.of(others(first))
    await past(ownerSql, 'audit_groups', () =>
      ownerSql.query(
        `UPDATE audit_groups g SET bundle = o.bundle, chain = o.chain, mac = o.mac FROM audit_groups o
         WHERE (g.writer, g.epoch, g.first_seq) IN (($1, $2, $3), ($4, $5, $6)) AND (o.writer, o.epoch, o.first_seq) IN (($1, $2, $3), ($4, $5, $6))
         AND (o.writer, o.epoch, o.first_seq) <> (g.writer, g.epoch, g.first_seq)`,
        [...keyOf(first), ...keyOf(second)],
      ),
    )
  },
  'rows of the index are swapped': async ({ db: { ownerSql } }, random) => {
    const [head] = await ownerSql.query<{ size: number }>('SELECT size::int AS size FROM audit_head')
    const first = random.below(head?.size ?? 0)
    const second = (first + 1 + random.below((head?.size ?? 2) - 1)) % (head?.size ?? 1)
    const columns = INDEX_COLUMNS.split(', ')
    await past(ownerSql, 'audit_entries', () =>
      ownerSql.query(
        `UPDATE audit_entries e SET ${columns.map((column) => `${column} = o.${column}`).join(', ')} FROM audit_entries o WHERE e.index IN ($1, $2) AND o.index = $1::bigint + $2::bigint - e.index`,
        [first, second],
      ),
    )
  },
  'a row of the index is changed': ({ db: { ownerSql } }, random) =>
    past(ownerSql, 'audit_entries', () =>
      ownerSql.query(
        'UPDATE audit_entries SET operation_id = gen_random_uuid() WHERE index = (SELECT index FROM audit_entries ORDER BY index OFFSET $1 LIMIT 1)',
        [random.below(600)],
      ),
    ),
  'a row of the index is removed': ({ db: { ownerSql } }, random) =>
    past(ownerSql, 'audit_entries', () =>
      ownerSql.query('DELETE FROM audit_entries WHERE index = (SELECT index FROM audit_entries ORDER BY index OFFSET $1 LIMIT 1)', [random.below(600)]),
    ),
  'an entry is inserted before it is sequenced': async ({ db: { ownerSql } }, random) => {
    const last = (await tailOf(ownerSql)).at(-1)
    const copied = random.of(await groups(ownerSql, SEQUENCED))
    await ownerSql.query(
      `INSERT INTO audit_groups (writer, epoch, first_seq, count, bundle, chain, mac) SELECT $4, $5, $6, count, bundle, chain, mac FROM audit_groups WHERE ${IS}`,
      [...keyOf(copied), last?.writer, last?.epoch, (last?.first_seq ?? 0) + (last?.count ?? 0)],
    )
  },
  'an entry is changed before it is sequenced': changeGroup(UNSEQUENCED),
  'an entry is removed before it is sequenced': async ({ db }, random) => deleteGroups(db, [random.of((await tailOf(db.ownerSql)).slice(0, -1))]),
  'the newest entries are removed before they are sequenced': async ({ db }) => deleteGroups(db, await newestWithRows(db.ownerSql)),
  'the newest entries and their rows are removed before they are sequenced': async ({ db }) => {
    await deleteGroups(db, await newestWithRows(db.ownerSql))
    await db.ownerSql.query(`DELETE FROM callers WHERE name = 'last'`)
  },
  'the newest entries are kept from being sequenced': oneOf(doing(`UPDATE audit_sequenced SET drained = true`), ({ db: { ownerSql } }) =>
    past(ownerSql, 'audit_writers', () => ownerSql.query('DELETE FROM audit_writers')),
  ),
  'the head is replaced': ({ db: { ownerSql } }, random) =>
    flipHash(ownerSql, random, { table: 'audit_head', column: random.of(['root', 'edge']), where: 'id = 1', values: [] }),
  'the head is set back': doing('UPDATE audit_head SET size = size - 1'),
  'a tile is changed': async ({ db: { ownerSql } }, random) => {
    const tiles = await ownerSql.query<{ table: string; level: number; index: string }>(
      `SELECT 'audit_tiles' AS table, level, index FROM audit_tiles UNION ALL SELECT 'audit_partial_tiles', level, index FROM audit_partial_tiles ORDER BY 1, 2, 3`,
    )
    const { table, level, index } = random.of(tiles)
    await flipHash(ownerSql, random, { table, column: 'hashes', where: 'level = $1 AND index = $2', values: [level, index] })
  },
  'the last checkpoint is changed': ({ db: { ownerSql } }) =>
    past(ownerSql, 'audit_checkpoints', () =>
      ownerSql.query(
        `UPDATE audit_checkpoints SET note = replace(note, E'\\n' || size || E'\\n', E'\\n' || (size - 1) || E'\\n') WHERE size = (SELECT max(size) FROM audit_checkpoints)`,
      ),
    ),
  'an earlier checkpoint is changed': ({ db: { ownerSql } }, random) =>
    past(ownerSql, 'audit_checkpoints', () =>
      ownerSql.query(
        `UPDATE audit_checkpoints SET note = replace(note, E'\\n' || size || E'\\n', E'\\n' || (size - 1) || E'\\n') WHERE size = (SELECT size FROM audit_checkpoints ORDER BY size OFFSET $1 LIMIT 1)`,
        [random.below(2)],
      ),
    ),
  'the tail of the log is cut': cutTail,
  'the tail of the log is cut, and every kept head set back': async (victim) => {
    await cutTail(victim)
    victim.rollBackFile()
    victim.rollBackToken()
  },
  'the whole database is rolled back': ({ rollBack }) => rollBack(),
  'the whole database and the checkpoint file are rolled back': async ({ rollBack, rollBackFile }) => {
    await rollBack()
    rollBackFile()
  },
  'the whole database and every kept head are rolled back': async ({ rollBack, rollBackFile, rollBackToken }) => {
    await rollBack()
    rollBackFile()
    rollBackToken()
  },
  'a key of the token is exchanged': ({ db: { ownerSql } }, random) =>
    ownerSql
      .query(
        `UPDATE root_keys r SET public_key = o.public_key FROM root_keys o WHERE r.key_id = $1 AND o.key_id = $2`,
        random.below(2) === 0 ? ['root:ca-cards', 'root:ca-callers'] : ['root:ca-callers', 'root:ca-root'],
      )
      .then(() => undefined),
  'a row is edited': editIn(SEALED),
  'a row is deleted': deleteIn(DELETED),
  'an old row is put back': replayIn(CHANGED),
  'a spent challenge is put back': replayIn(['attestation_nonces']),
  'a sequence number is put back': replayIn(['attestation_sqn']),
  'a revoked grant is put back': replayIn(['grants']),
  'an approval is deleted': deleteIn(['hold_approvals']),
  'a suspension of an admission is deleted': doing(
    'ALTER TABLE admissions DISABLE TRIGGER USER',
    `DELETE FROM admissions WHERE state = 'suspended'`,
    'ALTER TABLE admissions ENABLE TRIGGER USER',
  ),
  'the activation of the policy is deleted': deleteIn(['policy_activations']),
  'keys are exchanged': doing(
    `UPDATE kms_keys k SET wrapped = o.wrapped, kcv = o.kcv FROM kms_keys o WHERE k.id <> o.id AND k.label IN ('one', 'two') AND o.label IN ('one', 'two')`,
  ),
  'an ICCID is deleted': ({ db: { ownerSql } }, random) => ownerSql.query('DELETE FROM iccids WHERE position = $1', [random.below(20)]).then(() => undefined),
  'an ICCID is changed': ({ db: { ownerSql } }, random) =>
    ownerSql.query(`UPDATE iccids SET iccid = '8986009999999999999' WHERE position = $1`, [random.below(20)]).then(() => undefined),
  'an ICCID is added': doing(
    `INSERT INTO iccids (iccid, imsi, order_id, position) SELECT '8986009999999999998', '460009999999999', order_id, 20 FROM iccids LIMIT 1`,
  ),
  'a personal value is changed': ({ db: { ownerSql } }, random) =>
    ownerSql
      .query(`UPDATE audit_personal SET value = value || '0' WHERE ctid = (SELECT ctid FROM audit_personal ORDER BY ctid OFFSET $1 LIMIT 1)`, [
        random.below(10),
      ])
      .then(() => undefined),
  'a personal value is deleted': ({ db: { ownerSql } }, random) =>
    ownerSql
      .query('DELETE FROM audit_personal WHERE ctid = (SELECT ctid FROM audit_personal ORDER BY ctid OFFSET $1 LIMIT 1)', [random.below(10)])
      .then(() => undefined),
  'a constraint is dropped': oneOf(
    doing('ALTER TABLE bindings DROP CONSTRAINT one_device_for_a_card'),
    doing('ALTER TABLE bindings DROP CONSTRAINT one_card_for_an_imei'),
    doing('ALTER TABLE iccids DROP CONSTRAINT iccids_imsi_key'),
    doing('ALTER TABLE hold_approvals DROP CONSTRAINT hold_approvals_pkey'),
    doing('DROP INDEX kms_keys_label'),
  ),
  'a trigger is disabled': oneOf(
    doing('ALTER TABLE audit_groups DISABLE TRIGGER append_only'),
    doing('ALTER TABLE admissions DISABLE TRIGGER append_only'),
    doing('DROP TRIGGER never_deleted ON grants'),
  ),
  'a right is granted': oneOf(doing('GRANT UPDATE ON audit_groups TO gridseal_service'), doing('GRANT DELETE ON iccids TO PUBLIC')),
  'a function is changed': doing(`CREATE OR REPLACE FUNCTION append_only() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'`),
}
