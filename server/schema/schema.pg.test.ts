import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { testDatabase, type TestDatabase } from '../postgres/test-database.ts'
import { manifestOf, schemaDifferences } from './schema-comparison.ts'
import { describeSchema } from './schema-description.ts'

let db: TestDatabase
beforeAll(async () => {
  db = await testDatabase()
})
afterAll(() => db.close())

const harmful = async (): Promise<string[]> =>
  (await schemaDifferences(db.sql)).filter((one) => !one.isHarmless).map(({ what, detail }) => `${what}: ${detail}`)

describe('the schema', () => {
  it('is in the manifest as the migrations make it', async () => {
    await expect(manifestOf(await describeSchema(db.sql))).toMatchFileSnapshot('manifest.txt')
    expect(await schemaDifferences(db.sql)).toEqual([])
  })

  it('has a manifest of more than tables', async () => {
    const manifest = manifestOf(await describeSchema(db.sql))
    for (const line of [
      /^constraint one_device_for_a_card on bindings: EXCLUDE USING gist/m,
      /^trigger append_only on \{partition\}: CREATE TRIGGER/m,
      /^rights of gridseal_service on callers: INSERT, SELECT, UPDATE \(mac, person_id, state, version\)$/m,
      /^function audit_append_only\(\): returns trigger, plpgsql, for everybody: BEGIN IF TG_OP = 'DELETE'/m,
      /^role gridseal_service: ordinary$/m,
      /^column iccids.iccid: text not null$/m,
    ])
      expect(manifest).toMatch(line)
  })

  /** Statement of the owner, the difference, and what undoes it. */
  const CHANGES: readonly (readonly [statement: string, difference: RegExp, undo: string])[] = [
    [
      'ALTER TABLE bindings DROP CONSTRAINT one_device_for_a_card',
      /^constraint one_device_for_a_card on bindings: it is missing/,
      'ALTER TABLE bindings ADD CONSTRAINT one_device_for_a_card EXCLUDE USING gist (iccid WITH =, valid WITH &&)',
    ],
    [
      'ALTER TABLE audit_groups DISABLE TRIGGER append_only',
      /^trigger append_only on audit_groups: it is: .*, disabled; it is to be/,
      'ALTER TABLE audit_groups ENABLE TRIGGER append_only',
    ],
    [
      'ALTER TABLE audit_entries_3 DISABLE TRIGGER append_only',
      /^trigger append_only on audit_entries_3: it is: .*, disabled/,
      'ALTER TABLE audit_entries_3 ENABLE TRIGGER append_only',
    ],
    [
      'GRANT UPDATE ON audit_groups TO gridseal_service',
      /^rights of gridseal_service on audit_groups: it is: INSERT, SELECT, UPDATE, UPDATE \(mac\)/,
      'REVOKE UPDATE ON audit_groups FROM gridseal_service; GRANT UPDATE (mac) ON audit_groups TO gridseal_service',
    ],
    ['GRANT DELETE ON iccids TO PUBLIC', /^rights of everybody on iccids: it was added: DELETE/, 'REVOKE DELETE ON iccids FROM PUBLIC'],
    [
      `CREATE OR REPLACE FUNCTION append_only() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'`,
      /^function append_only\(\): it is: returns trigger, plpgsql, for everybody: BEGIN RETURN NULL; END/,
      `CREATE OR REPLACE FUNCTION append_only() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
      RAISE EXCEPTION 'rows are only added: % on %', TG_OP, TG_TABLE_NAME USING ERRCODE = 'insufficient_privilege';
    END $$`,
    ],
    [
      'CREATE TRIGGER spy BEFORE INSERT ON cards FOR EACH ROW EXECUTE FUNCTION append_only()',
      /^trigger spy on cards: it was added/,
      'DROP TRIGGER spy ON cards',
    ],
    ['ALTER TABLE callers ENABLE ROW LEVEL SECURITY', /^table callers: it is: ordinary, row security/, 'ALTER TABLE callers DISABLE ROW LEVEL SECURITY'],
    ['CREATE POLICY hide ON callers USING (false)', /^policy hide on callers: it was added: false/, 'DROP POLICY hide ON callers'],
    ['CREATE RULE forget AS ON DELETE TO iccids DO INSTEAD NOTHING', /^rule forget on iccids: it was added/, 'DROP RULE forget ON iccids'],
    [
      'ALTER TABLE rule_hits ALTER hits TYPE numeric',
      /^column rule_hits.hits: it is: numeric not null; it is to be: bigint not null/,
      'ALTER TABLE rule_hits ALTER hits TYPE bigint',
    ],
    [
      'ALTER TABLE orders DROP CONSTRAINT orders_quantity_check',
      /^constraint orders_quantity_check on orders: it is missing/,
      'ALTER TABLE orders ADD CHECK (quantity > 0)',
    ],
    ['CREATE TABLE more () INHERITS (callers)', /^table more: it was added: ordinary, inherits callers/, 'DROP TABLE more'],
    [
      `ALTER ROLE gridseal_service IN DATABASE "$db" SET search_path = elsewhere`,
      /^setting search_path of the role gridseal_service: it was added: elsewhere/,
      'ALTER ROLE gridseal_service IN DATABASE "$db" RESET search_path',
    ],
    [
      'DROP INDEX kms_keys_label',
      /^index kms_keys_label on kms_keys: it is missing/,
      `CREATE UNIQUE INDEX kms_keys_label ON kms_keys (owner, label) WHERE state <> 'destroyed'`,
    ],
  ]

  it.each(CHANGES)('that was changed is named: %s', async (statement, difference, undo) => {
    const [name] = await db.ownerSql.query<{ name: string }>('SELECT current_database() AS name')
    const admin = /ALTER ROLE/.test(statement)
    const run = async (text: string): Promise<void> => {
      const target = admin ? await asAdmin() : undefined
      for (const one of text.replace('$db', name?.name ?? '').split(/; (?=GRANT|REVOKE)/)) await (target?.query(one) ?? db.ownerSql.query(one))
      await target?.end()
    }
    await run(statement)
    const found = await harmful()
    await run(undo)
    // Of an enabled row security or a table that inherits nothing else is to be told.
    expect(found.filter((line) => difference.test(line))).toHaveLength(1)
    expect(await harmful()).toEqual([])
  })

  it('may have more beside it: what others added and read is told, and harms nothing', async () => {
    await db.ownerSql.query('CREATE TABLE report (id int PRIMARY KEY)')
    await db.ownerSql.query('GRANT SELECT ON callers TO PUBLIC')
    const differences = await schemaDifferences(db.sql)
    expect(differences.map(({ what }) => what)).toEqual(expect.arrayContaining(['table report', 'column report.id', 'rights of everybody on callers']))
    expect(differences.every(({ isHarmless }) => isHarmless)).toBe(true)
    await db.ownerSql.query('DROP TABLE report')
    await db.ownerSql.query('REVOKE SELECT ON callers FROM PUBLIC')
  })
})

async function asAdmin(): Promise<import('pg').Client> {
  const { default: pg } = await import('pg')
  const { inject } = await import('vitest')
  const client = new pg.Client({ connectionString: inject('testServer') })
  await client.connect()
  return client
}
