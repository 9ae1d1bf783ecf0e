import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import pino from 'pino'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { SealedTable } from '../core/sealed-table.ts'
import type { Caller } from '../policies/caller.ts'
import { readConfig } from './config.ts'
import { testDatabase } from './postgres/test-database.ts'
import { openService } from './service.ts'
import {
  acme,
  alice,
  billing,
  bob,
  enrolSiteVendor,
  filled,
  openRotationPlace,
  orderCards,
  rotate,
  RotationNode,
  type RotationPlace,
  type RotationView,
  settled,
} from './testing/rotation-site.ts'

/** MACs of the log's groups: another key, and no rows. */
const GROUPS = 'audit_groups'

/** What every bytea column of the database is. What is wrapped under the storage KEK is to be rewrapped: a new column stands here before anything else. */
const BYTES: Readonly<Record<string, 'under the storage KEK' | 'under another key' | 'a MAC' | 'no key'>> = {
  'admissions.licence_sha256': 'no key',
  'admissions.mac': 'a MAC',
  'admissions.report_sha256': 'no key',
  'admissions.salt': 'no key',
  'alarms.mac': 'a MAC',
  'attestation_decoys.mac': 'a MAC',
  'attestation_decoys.wrapped': 'under the storage KEK',
  'attestation_nonces.mac': 'a MAC',
  'attestation_nonces.nonce': 'no key',
  'attestation_nonces.salt': 'no key',
  'attestation_sqn.mac': 'a MAC',
  'audit_groups.bundle': 'no key',
  'audit_groups.chain': 'no key',
  'audit_groups.mac': 'a MAC',
  'audit_head.edge': 'no key',
  'audit_head.root': 'no key',
  'audit_partial_tiles.hashes': 'no key',
  'audit_personal.blind_index': 'no key',
  'audit_personal.salt': 'no key',
  'audit_prunes.heads': 'no key',
  'audit_prunes.mac': 'a MAC',
  'audit_prunes.root': 'no key',
  'audit_segments.times': 'no key',
  'audit_sequenced.chain': 'no key',
  'audit_terms.bits': 'no key',
  'audit_tiles.hashes': 'no key',
  'binding_conflicts.evidence': 'no key',
  'binding_conflicts.mac': 'a MAC',
  'binding_conflicts.standing_evidence': 'no key',
  'bindings.evidence': 'no key',
  'bindings.mac': 'a MAC',
  'bootstrap.mac': 'a MAC',
  'callers.mac': 'a MAC',
  'card_masters.k1': 'no key',
  'card_masters.kat_kcv': 'no key',
  'card_masters.mac': 'a MAC',
  'card_profiles.mac': 'a MAC',
  // The delivered keys: under the vendor's transport key.
  'cards.delivery_mac': 'no key',
  'cards.keys': 'under another key',
  'cards.mac': 'a MAC',
  'cards.public_key': 'no key',
  'cards.wrapped': 'under the storage KEK',
  'ceremony_authorisations.mac': 'a MAC',
  'ceremony_notes.mac': 'a MAC',
  'certificates.der': 'no key',
  'certificates.mac': 'a MAC',
  'certificates.tbs_sha256': 'no key',
  'crls.der': 'no key',
  'crls.digest': 'no key',
  'crls.mac': 'a MAC',
  'crls.planned_tbs_sha256': 'no key',
  'deliveries.body_sha256': 'no key',
  'deliveries.mac': 'a MAC',
  'grants.mac': 'a MAC',
  // The parked input of a request that is held: a digest of the request, and the input under a key of the token.
  'hold_approvals.digest': 'no key',
  'hold_approvals.mac': 'a MAC',
  'hold_inputs.mac': 'a MAC',
  'hold_inputs.wrapped': 'under the storage KEK',
  'holds.digest': 'no key',
  'holds.mac': 'a MAC',
  'holds.salt': 'no key',
  'kms_keys.kcv': 'no key',
  'kms_keys.mac': 'a MAC',
  'kms_keys.public_key': 'no key',
  'kms_keys.wrapped': 'under the storage KEK',
  'log_recoveries.lost_root': 'no key',
  'log_recoveries.mac': 'a MAC',
  'operator_keys.mac': 'a MAC',
  'operator_keys.wrapped': 'under the storage KEK',
  'order_chunks.digest': 'no key',
  'order_chunks.mac': 'a MAC',
  'orders.content_digest': 'no key',
  'orders.mac': 'a MAC',
  // The secret of one-time codes.
  'person_otps.mac': 'a MAC',
  'person_otps.wrapped': 'under the storage KEK',
  'person_passwords.digest': 'no key',
  'person_passwords.mac': 'a MAC',
  'person_passwords.salt': 'no key',
  'person_session_uses.mac': 'a MAC',
  'person_sessions.digest': 'no key',
  'person_sessions.mac': 'a MAC',
  'person_tickets.digest': 'no key',
  'person_tickets.mac': 'a MAC',
  'persons.mac': 'a MAC',
  'policy_activations.mac': 'a MAC',
  'policy_activations.signature': 'no key',
  'policy_activations.text_sha256': 'no key',
  'quotas.mac': 'a MAC',
  'root_key_generations.kcv': 'no key',
  'root_key_generations.mac': 'a MAC',
  'root_key_rotations.mac': 'a MAC',
  'root_key_rotations.salt': 'no key',
  'root_keys.kcv': 'no key',
  'root_keys.public_key': 'no key',
  'row_mac_keys.mac': 'a MAC',
  'row_mac_keys.wrapped': 'under the storage KEK',
  'token_adoptions.mac': 'a MAC',
  'token_adoptions.new_key': 'no key',
  'token_adoptions.old_key': 'no key',
  // Under the backup KEK, or the recipient's RSA key.
  'token_key_backups.kcv': 'no key',
  'token_key_backups.kek': 'no key',
  'token_key_backups.mac': 'a MAC',
  'token_key_backups.public_key': 'no key',
  'token_key_backups.recipient': 'no key',
  'token_key_backups.wrapped': 'under another key',
  // Under the vendor's RSA key, and under the transport key.
  'transport_keys.encrypted_key': 'under another key',
  'transport_keys.kcv': 'no key',
  'transport_keys.mac': 'a MAC',
  'transport_keys.mac_kcv': 'no key',
  'transport_keys.recipient': 'no key',
  'transport_keys.wrapped_mac_key': 'under another key',
  'unbind_requests.mac': 'a MAC',
  'unbind_requests.salt': 'no key',
  'vendors.certificate': 'no key',
  'vendors.fingerprint': 'no key',
  'vendors.mac': 'a MAC',
}

let place: RotationPlace
let node: RotationNode
beforeAll(async () => {
  place = await openRotationPlace()
  node = await RotationNode.open(place)
  await node.start()
  const vendor = await enrolSiteVendor(node)
  await node.call(billing, 'kms.key.generate', { label: 'one', algorithm: 'ec-p256' })
  await node.call(alice, 'policies.caller.register', { kind: 'module', name: 'traffic' })
  await node.call({ kind: 'system', name: 'crl', id: 'urn:gridseal:system:crl' }, 'kms.crl.issue', { authority: 'cards' })
  const orderId = await orderCards(node, vendor, 10)
  await filled(node, orderId)
  await node.download(acme, 'card-personalization.delivery.fetch', { orderId })
  const [iccid] = (await place.db.ownerSql.query<{ iccid: string }>('SELECT iccid FROM cards LIMIT 1')).map((row) => row.iccid)
  await node.call(billing, 'attestation.card.challenge', { iccid, method: 'milenage' })
}, 60_000)
afterAll(async () => {
  await node.close()
  await place.close()
})

const columnsOf = (where: string): Promise<{ table: string; column: string }[]> =>
  place.db.ownerSql.query(
    `SELECT c.table_name AS table, c.column_name AS column FROM information_schema.columns c JOIN information_schema.tables t USING (table_schema, table_name)
     WHERE c.table_schema = 'public' AND t.table_type = 'BASE TABLE' AND c.table_name NOT LIKE 'knex%' AND ${where} ORDER BY 1, 2`,
  )

describe('the registry of sealed tables', () => {
  /** Of the service itself, as it is put together. */
  let tables: readonly SealedTable[]
  beforeAll(async () => {
    const [data, db] = [mkdtempSync(join(tmpdir(), 'gridseal-tables-')), await testDatabase({ migrated: false })]
    const env = { GRIDSEAL_DATA: data, GRIDSEAL_LANES: '1', DATABASE_URL: db.serviceUrl, DATABASE_OWNER_URL: db.ownerUrl }
    const service = await openService(readConfig(env), pino({ level: 'silent' }))
    tables = service.rotations.sealedTables
    await service.close()
    await db.close()
    rmSync(data, { recursive: true, force: true })
  }, 60_000)

  it('has every table with a MAC, each once', async () => {
    const sealed = (await columnsOf(`c.column_name = 'mac'`)).map(({ table }) => table).filter((table) => table !== GROUPS)
    expect(tables.map(({ name }) => name).sort()).toEqual(sealed)
  })

  it('says of every bytea column what it is, and holds keys where it is under the storage KEK', async () => {
    const known = Object.keys(BYTES).sort()
    const there = (await columnsOf(`c.data_type = 'bytea' AND c.table_name !~ '^audit_entries'`)).map(({ table, column }) => `${table}.${column}`)
    expect(there.filter((name) => !known.includes(name))).toEqual([])
    const under = known.filter((name) => there.includes(name) && BYTES[name] === 'under the storage KEK').sort()
    const holding = tables.filter(({ holdsKeys }) => holdsKeys).map(({ name }) => `${name}.wrapped`)
    expect(under).toEqual(holding.sort())
  })

  it('reads every row of a table, page by page, and each is what was sealed', async () => {
    let rows = 0
    for (const table of node.rotations.sealedTables) {
      const seen: string[] = []
      for (let after: string | undefined; ; ) {
        const page = await table.page(after, 3)
        expect(await node.hsm.integrity.reviewRows(page), table.name).toEqual(page.map(() => 'current'))
        expect(
          page.every(({ row }) => row.table === table.name),
          table.name,
        ).toBe(true)
        seen.push(...page.map(({ key }) => key))
        after = page.at(-1)?.key
        if (after === undefined) break
      }
      expect(new Set(seen).size, table.name).toBe(await table.count())
      rows += seen.length
    }
    expect(rows).toBeGreaterThan(30)
  })

  it('lets the service change a MAC alone where rows are only added', async () => {
    for (const table of [
      'bootstrap',
      'transport_keys',
      'card_masters',
      'card_profiles',
      'binding_conflicts',
      'admissions',
      'token_key_backups',
      'token_adoptions',
      'ceremony_authorisations',
      'ceremony_notes',
      GROUPS,
    ]) {
      await place.db.sql.query(`UPDATE ${table} SET mac = mac WHERE false`)
      const [column] = (await columnsOf(`c.table_name = '${table}' AND c.column_name <> 'mac'`)).map((one) => one.column)
      await expect(place.db.sql.query(`UPDATE ${table} SET ${column} = ${column} WHERE false`), table).rejects.toMatchObject({ code: '42501' })
      await expect(place.db.sql.query(`DELETE FROM ${table} WHERE false`), table).rejects.toMatchObject({ code: '42501' })
    }
    for (const table of ['token_key_backups', 'token_adoptions', 'ceremony_authorisations', 'ceremony_notes', GROUPS]) {
      for (const { column } of await columnsOf(`c.table_name = '${table}' AND c.column_name <> 'mac'`))
        await expect(place.db.ownerSql.query(`UPDATE ${table} SET ${column} = ${column} WHERE false`), `${table}.${column}`).rejects.toThrow(/only/)
      await expect(place.db.ownerSql.query(`DELETE FROM ${table} WHERE false`), table).rejects.toThrow(/only/)
    }
  })
})

describe('generations that someone edited', () => {
  it('are there once a key was rotated', async () => {
    expect(await settled(node, await rotate(node, 'group-mac'))).toMatchObject({ to: 'root:group-mac-2' })
  })

  it.each([
    ['the state of a generation', `UPDATE root_key_generations SET state = 'older' WHERE state = 'current'`],
    ['a check value', `UPDATE root_key_generations SET kcv = '\\x0102030405' WHERE state = 'current'`],
    ['a generation that is put back', `UPDATE root_key_generations SET state = 'older', version = version - 1 WHERE state = 'retired'`],
  ])('%s: nothing is followed, and no start is done', async (_claim, edit) => {
    await place.db.ownerSql.query('CREATE TABLE kept AS SELECT * FROM root_key_generations')
    await place.db.ownerSql.query(edit)
    await expect(RotationNode.open(place)).rejects.toMatchObject({ name: 'Problem' })
    await place.db.ownerSql.query('UPDATE root_key_generations g SET state = k.state, kcv = k.kcv, version = k.version FROM kept k WHERE k.key_id = g.key_id')
    await place.db.ownerSql.query('DROP TABLE kept')
    const other = await RotationNode.open(place)
    await other.close()
  })
})

describe('rows that someone edited', () => {
  /** One row of each table that has any, and an edit of what is sealed in it. */
  const edited: { table: string; key: string }[] = []

  it('are found in every table before a rotation of the row-MAC key', async () => {
    for (const table of node.rotations.sealedTables) {
      const [first] = await table.page(undefined, 1)
      // The rotation itself must not be stopped by its own rows: those are tried below.
      if (first === undefined || table.name.startsWith('root_key_')) continue
      const [column] = (await columnsOf(`c.table_name = '${table.name}' AND c.column_name = 'version'`)).map((one) => one.column)
      const edit = column === undefined ? `officers = officers || 'mallory'` : 'version = 2'
      const [key] = await place.db.ownerSql.query<{ ctid: string }>(`SELECT ctid::text AS ctid FROM ${table.name} ORDER BY ctid LIMIT 1`)
      await place.db.ownerSql.query(`ALTER TABLE ${table.name} DISABLE TRIGGER USER`)
      await place.db.ownerSql.query(
        `UPDATE ${table.name} SET ${edit === 'version = 2' ? 'version = CASE version WHEN 2 THEN 1 ELSE 2 END' : edit} WHERE ctid = $1::tid`,
        [key?.ctid],
      )
      await place.db.ownerSql.query(`ALTER TABLE ${table.name} ENABLE TRIGGER USER`)
      const wrong = await wrongRows(table.name)
      expect(wrong, table.name).toHaveLength(1)
      edited.push({ table: table.name, key: wrong[0] ?? '' })
    }
    expect(edited.length).toBeGreaterThanOrEqual(17)
  })

  it('keep the old key from being destroyed, and are named in the log', async () => {
    const rotationId = await rotate(node, 'row-mac')
    const view = await waiting(rotationId, edited.length)
    expect(view.rows).toMatchObject({ found: 0, accepted: 0 })
    const accept = (officer: Caller, count: number): Promise<unknown> => node.call(officer, 'kms.root-key.accept-refused', { rotationId, count })
    await expect(accept(alice, edited.length)).rejects.toMatchObject({ code: 'forbidden' })
    await expect(accept(bob, edited.length - 1)).rejects.toMatchObject({ code: 'conflict' })
    await node.audit.flush()
    const { entries } = await node.call<{ entries: { entry: { facts?: { refused?: string[] } } }[] }>(alice, 'policies.audit.search', {
      operation: 'kms.root-key.renew',
      limit: 1000,
    })
    const named = new Set(entries.flatMap(({ entry }) => entry.facts?.refused ?? []).map((name) => name.split(' ')[0]))
    expect(named).toEqual(new Set(edited.map(({ table }) => table)))

    // One is mended, the others are given up.
    const mended = edited.find(({ table }) => table === 'callers')
    await place.db.ownerSql.query(`UPDATE callers SET version = 1 WHERE id = $1`, [(JSON.parse(mended?.key ?? '[]') as string[])[0]])
    edited.splice(edited.indexOf(mended as (typeof edited)[0]), 1)
    await waiting(rotationId, edited.length)
    await accept(bob, edited.length)
    expect((await settled(node, rotationId)).rows).toMatchObject({ refused: edited.length, accepted: edited.length })
    expect(await wrongRows('callers')).toEqual([])
  })

  it('are found after it as before', async () => {
    for (const { table, key } of edited) expect(await wrongRows(table), table).toEqual([key])
  })

  it('are not rewrapped by a rotation of the storage KEK', async () => {
    const rotationId = await rotate(node, 'storage-kek')
    const holding = edited.filter(({ table }) => node.rotations.sealedTables.some(({ name, holdsKeys }) => name === table && holdsKeys))
    await waiting(rotationId, holding.length)
    await node.call(bob, 'kms.root-key.accept-refused', { rotationId, count: holding.length })
    expect((await settled(node, rotationId)).rows).toMatchObject({ found: 0, refused: holding.length })
    for (const { table, key } of edited) expect(await wrongRows(table), table).toEqual([key])
  })

  /** The rotation once a whole pass has refused so many rows. */
  async function waiting(rotationId: string, count: number): Promise<RotationView> {
    for (const end = Date.now() + 20_000; ; ) {
      const view = await node.call<RotationView>(alice, 'kms.root-key.get-rotation', { rotationId })
      if (view.state !== 'working') throw new Error(`the rotation is ${view.state}`)
      if (view.pass > 2 && view.rows.seen === 0 && view.rows.refused === count) return view
      if (Date.now() > end) throw new Error(`it stays ${JSON.stringify(view)}`)
      await new Promise((resolve) => setTimeout(resolve, 10))
    }
  }

  async function wrongRows(name: string): Promise<string[]> {
    const table = node.rotations.sealedTables.find((one) => one.name === name)
    const wrong: string[] = []
    if (table === undefined) return wrong
    for (let after: string | undefined; ; ) {
      const page = await table.page(after, 500)
      const sealed = await node.hsm.integrity.reviewRows(page)
      wrong.push(...page.filter((_, at) => sealed[at] === 'nobody').map(({ key }) => key))
      after = page.at(-1)?.key
      if (after === undefined) break
    }
    return wrong
  }
})
