import { afterAll, beforeAll, expect, it } from 'vitest'
import { type TestDatabase, testDatabase } from '../server/postgres/test-database.ts'
import { PgRootKeyStore } from './root-key-store.pg.ts'
import { type TestToken, testToken } from './testing/test-token.ts'

let database: TestDatabase
let tokens: TestToken[]
beforeAll(async () => {
  database = await testDatabase()
  tokens = await Promise.all([testToken(), testToken()])
})
afterAll(async () => {
  await database.close()
  await Promise.all(tokens.map((token) => token.close()))
})

it('a database knows its token again and refuses another', async () => {
  const [mine, other] = tokens.map(({ identity }) => identity) as [TestToken['identity'], TestToken['identity']]
  const store = new PgRootKeyStore(database.sql)
  await Promise.all([store.assertSameToken(mine), store.assertSameToken(mine)])
  await store.assertSameToken(mine)
  expect((await store.load()).map(({ keyId }) => keyId)).toEqual(mine.keys.map(({ keyId }) => keyId))
  await expect(store.assertSameToken(other)).rejects.toMatchObject({ code: 'hsm-unavailable' })
  await expect(database.sql.query('UPDATE root_keys SET token_serial = $1', [other.serial])).rejects.toThrow(/permission denied/)
})
