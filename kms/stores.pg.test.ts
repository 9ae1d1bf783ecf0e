import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { keyId, newUuid } from '../core/ids.ts'
import type { Sql } from '../core/tx.ts'
import { type TestDatabase, testDatabase } from '../server/postgres/test-database.ts'
import { certificateStoreContract } from './certificates/certificate-store.contract.ts'
import { PgCertificateStore } from './certificates/certificate-store.pg.ts'
import { keyStoreContract } from './keys/key-store.contract.ts'
import { PgKeyStore } from './keys/key-store.pg.ts'
import { softwareSealer } from './testing/software-hsm.ts'

let database: TestDatabase
const sealer = softwareSealer()
beforeAll(async () => {
  database = await testDatabase()
})
afterAll(() => database.close())

keyStoreContract('PostgreSQL', () => ({ store: new PgKeyStore(database.sql, sealer), sealer, transact: (work) => database.transact(work) }))
certificateStoreContract('PostgreSQL', () => ({ store: new PgCertificateStore(database.sql, sealer), sealer, transact: (work) => database.transact(work) }))

describe('the service’s role', () => {
  test.each([
    ['delete a key', 'delete from kms_keys'],
    ['delete a certificate', 'delete from certificates'],
    ['give a key to another owner', `update kms_keys set owner = 'x'`],
    ['change whose a certificate is', `update certificates set subject_id = 'x'`],
    ['delete a CRL', 'delete from crls'],
    ['empty the tables', 'truncate kms_keys, certificates'],
  ])('may not %s', async (_what, statement) => {
    await expect(database.sql.query(statement)).rejects.toThrow(/permission denied/)
  })
})

test('a hundred reads of one turn are one statement', async () => {
  let statements = 0
  const counting: Sql = {
    query: (text, values) => {
      statements += 1
      return database.sql.query(text, values)
    },
  }
  const store = new PgKeyStore(counting, sealer)
  await Promise.all(Array.from({ length: 100 }, () => store.findKey(keyId(newUuid()))))
  expect(statements).toBe(1)
})
