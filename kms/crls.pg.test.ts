import { execFileSync } from 'node:child_process'
import { X509Certificate } from 'node:crypto'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { newUuid } from '../core/ids.ts'
import { Problem } from '../core/problem.ts'
import { type TestToken, testToken } from '../pkcs11/testing/test-token.ts'
import type { AuditLog, EntryDraft } from '../policies/audit/log.ts'
import { type Caller, systemCaller } from '../policies/caller.ts'
import { perform } from '../policies/gate.ts'
import type { Permit } from '../policies/permit.ts'
import { memoryGate, withTestPermit } from '../policies/testing/memory-gate.ts'
import { type TestDatabase, testDatabase } from '../server/postgres/test-database.ts'
import { crlStoreContract } from './certificates/crl-store.contract.ts'
import { PgCrlStore } from './certificates/crl-store.pg.ts'
import { type KmsFeature, kmsFeature, type ServedCrl } from './index.ts'
import { ecPair, spkiOf } from './testing/make-csr.ts'
import { softwareSealer } from './testing/software-hsm.ts'

/** Certificates of cards and CRLs on a real token and a real database; only the log is in memory. */

const officer: Caller = { kind: 'officer', name: 'wang', id: newUuid() }
const ICCIDS = ['89860123456789012345', '8986012345678901239', '89860123456789012352']

let token: TestToken
beforeAll(async () => {
  token = await testToken()
}, 60_000)
afterAll(() => token.close())

const databases: TestDatabase[] = []
afterEach(async () => {
  await Promise.all(databases.splice(0).map((database) => database.close()))
})
const newDatabase = async (): Promise<TestDatabase> => {
  const database = await testDatabase()
  databases.push(database)
  return database
}

crlStoreContract('PostgreSQL', async () => {
  const database = await newDatabase()
  const sealer = softwareSealer()
  return { sealer, store: new PgCrlStore(database.sql, sealer), transact: (work) => database.transact(work) }
})

interface World {
  readonly database: TestDatabase
  readonly kms: KmsFeature
  readonly clock: { now: Date }
  readonly entries: EntryDraft[]
  readonly failures: string[]
  readonly hsm: { fail: boolean }
  ask(name: string, body: unknown, caller?: Caller): Promise<Record<string, unknown>>
  /** Card ids. */
  issueCards(iccids?: readonly string[]): Promise<string[]>
  revoke(cardId: string | undefined, reason?: string): Promise<string>
  issueCrl(): Promise<ServedCrl>
  /** Another node on the same database. */
  feature(): KmsFeature
}

async function world(): Promise<World> {
  const database = await newDatabase()
  const clock = { now: new Date() }
  const entries: EntryDraft[] = []
  const failures: string[] = []
  const log: AuditLog = {
    transact: (work) => database.transact((tx) => work({ tx, append: (entry) => void entries.push(entry) })),
    append: (entry) => Promise.resolve(void entries.push(entry)),
    giveUp: () => undefined,
  }
  const gate = { decide: memoryGate().decide, log }
  const hsm = { fail: false }
  const feature = () =>
    kmsFeature({
      token: token.identity,
      hsm: new Proxy(token.hsm, {
        get: (target, name: keyof typeof token.hsm) =>
          hsm.fail && name === 'signWithRoot' ? () => Promise.reject(new Problem('hsm-unavailable', 'gone')) : target[name].bind(target),
      }),
      sealer: token.integrity,
      sql: database.sql,
      callers: { find: () => Promise.resolve(undefined) },
      now: () => clock.now,
      crlUrl: 'http://pki.grid.example',
      gate,
      crlPollMs: 20,
      onCrlFailure: ({ code }, authority) => void failures.push(`${authority} ${code}`),
    })
  const kms = feature()
  const operations = [...kms.operations, ...Object.values(kms.systemOperations)]
  const ask: World['ask'] = async (name, body, caller = systemCaller('crl')) => {
    const op = operations.find((candidate) => candidate.name === name)
    if (op === undefined) throw new Error(`there is no operation ${name}`)
    return (await perform(gate, op, { caller, body })) as Record<string, unknown>
  }
  const issueCards: World['issueCards'] = async (iccids = ICCIDS) => {
    const { cardCertificates: certifier } = kms
    const cards = iccids.map((iccid) => ({ cardId: newUuid(), iccid, spki: spkiOf(ecPair('P-256').publicKey) }))
    const planned = await certifier.plan(cards)
    if (planned instanceof Problem) throw planned
    await database.transact((tx) => certifier.reserve(tx, planned))
    const issued = await withTestPermit([{ action: 'sign', keyId: certifier.signer }], (permit: Permit) => certifier.sign(permit, planned))
    const rows = await database.transact((tx) => certifier.record(tx, issued))
    expect(rows.map(({ id, version }) => [id, version])).toEqual(planned.serials.map((serial) => [serial, 2]))
    return cards.map(({ cardId }) => cardId)
  }
  await ask('kms.authority.establish', {}, systemCaller('start'))
  return {
    ...{ database, kms, clock, entries, failures, hsm, ask, issueCards, feature },
    revoke: async (cardId = '', reason = 'keyCompromise') => {
      const serial = (await kms.cardCertificates.find(cardId))?.serial ?? ''
      await ask('kms.certificate.revoke', { serial, reason }, officer)
      return serial
    },
    issueCrl: async () => {
      await ask('kms.crl.issue', { authority: 'cards' })
      const crl = await kms.findCrl('cards')
      if (crl === undefined) throw new Error('it was issued')
      return crl
    },
  }
}

const codeOf = (work: Promise<unknown>): Promise<string> =>
  work.then(
    () => 'ok',
    (error: unknown) => (error instanceof Problem ? error.code : String(error)),
  )
const until = async (holds: () => Promise<boolean>): Promise<void> => {
  for (let tries = 0; !(await holds()); tries += 1) {
    if (tries > 250) throw new Error('it does not come')
    await sleep(20)
  }
}

const folder = mkdtempSync(join(tmpdir(), 'gridseal-crls-'))
afterAll(() => rmSync(folder, { recursive: true }))
const file = (name: string, content: Uint8Array | string): string => {
  writeFileSync(join(folder, name), content)
  return join(folder, name)
}
const openssl = (...args: string[]): string => execFileSync('openssl', args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] })
const serialsIn = ({ der }: ServedCrl): string[] => {
  const text = openssl('crl', '-inform', 'DER', '-in', file('crl.der', der), '-noout', '-text')
  return [...text.matchAll(/Serial Number: ([0-9A-F]{32})/g)].map(([, serial]) => serial?.toLowerCase() ?? '')
}

let at: World
const inAWorld = (): void => {
  beforeEach(async () => {
    at = await world()
  })
  afterEach(() => at.kms.crlJob.stop())
}

describe('certificates of cards', () => {
  inAWorld()

  test('are issued in a batch, found by card, and verified strictly by openssl with the CRLs of those above', async () => {
    const [a = '', b = ''] = await at.issueCards()
    const certifier = at.kms.cardCertificates
    const found = await certifier.find(a)
    const certificate = new X509Certificate(found?.der ?? '')
    expect(certificate.subject).toBe(`O=Gridseal\nOU=cards\nserialNumber=${ICCIDS[0]}`)
    expect(certificate.subjectAltName).toBe(`URI:urn:gridseal:card:${ICCIDS[0]}`)
    expect(found).toMatchObject({ state: 'issued', spki: certificate.publicKey.export({ format: 'der', type: 'spki' }) })
    expect(await certifier.find(newUuid())).toBeUndefined()

    await at.revoke(b)
    const crl = await at.issueCrl()
    await at.ask('kms.crl.issue', { authority: 'root' })
    const [cards, root] = (await certifier.chain()).map((der) => new X509Certificate(der).toString())
    const crls = [crl, await at.kms.findCrl('root')].map((one, index) =>
      openssl('crl', '-inform', 'DER', '-in', file(`${String(index)}.crl`, one?.der ?? ''), '-outform', 'PEM'),
    )
    const options = ['-x509_strict', '-crl_check_all', '-CRLfile', file('crls.pem', crls.join('')), '-CAfile', file('root.pem', root ?? '')]
    const check = async (cardId: string) =>
      openssl(
        ...['verify', ...options, '-untrusted', file('cards.pem', cards ?? '')],
        file('card.pem', new X509Certificate((await certifier.find(cardId))?.der ?? '').toString()),
      )
    expect(await check(a)).toContain(': OK')
    await expect(check(b)).rejects.toThrow(/certificate revoked/)
    expect(await certifier.find(b)).toMatchObject({ state: 'revoked', reason: 'keyCompromise' })
  })

  test('deliveries get the DER of each; a missing one and an edited one are refused', async () => {
    const cards = await at.issueCards()
    const certifier = at.kms.cardCertificates
    const ders = await certifier.ders(cards)
    expect(cards.map((cardId) => new X509Certificate(ders.get(cardId) ?? '').subjectAltName)).toEqual(ICCIDS.map((one) => `URI:urn:gridseal:card:${one}`))
    expect(await codeOf(certifier.ders([...cards, newUuid()]))).toBe('integrity-failed')
    await at.database.ownerSql.query(`update certificates set subject_id = $1, not_before = not_before + interval '1 second' where subject_id = $2`, [
      cards[0],
      cards[1],
    ])
    expect(await codeOf(certifier.ders([cards[0] ?? '']))).toBe('integrity-failed')
  })

  test('an edited row of the cards CA stops issuing before a key is used', async () => {
    await at.database.ownerSql.query(`update certificates set not_after = not_after + interval '1 day' where subject_id = 'cards'`)
    expect(await codeOf(at.issueCards())).toBe('integrity-failed')
  })
})

describe('a CRL', () => {
  inAWorld()

  test('grows in number and keeps every entry; the old one is served until the new one is there', async () => {
    const [a, b] = await at.issueCards()
    const empty = await at.issueCrl()
    expect([empty.number, empty.count, serialsIn(empty)]).toEqual([1, 0, []])
    const first = await at.revoke(a, 'superseded')
    const one = await at.issueCrl()
    expect([one.number, serialsIn(one)]).toEqual([2, [first]])
    const second = await at.revoke(b, 'unspecified')
    expect((await at.kms.findCrl('cards'))?.number).toBe(2)
    at.clock.now = new Date(at.clock.now.getTime() + 3 * 86_400_000)
    const two = await at.issueCrl()
    expect([two.number, two.count, serialsIn(two)]).toEqual([3, 2, [first, second]])
    expect(two.nextUpdate.getTime() - two.thisUpdate.getTime()).toBe(7 * 86_400_000)
    expect(await at.kms.findCrl('callers')).toBeUndefined()
    expect(at.entries.at(-1)?.facts).toMatchObject({ public: { authority: 'cards', number: 3, count: 2 }, rows: [{ table: 'crls', id: 'cards', version: 6 }] })
  })

  test('a failure after the intent burns its number, and the old list stays', async () => {
    await at.issueCrl()
    at.hsm.fail = true
    expect(await codeOf(at.issueCrl())).toBe('hsm-unavailable')
    expect((await at.kms.findCrl('cards'))?.number).toBe(1)
    at.hsm.fail = false
    expect((await at.issueCrl()).number).toBe(3)
  })

  test('of two that are issued at once none has the number of the other', async () => {
    const results = await Promise.all([1, 2, 3].map(() => codeOf(at.ask('kms.crl.issue', { authority: 'cards' }))))
    expect(results.every((code) => code === 'ok' || code === 'conflict')).toBe(true)
    expect(results).toContain('ok')
    const numbers = at.entries.filter(({ kind, operation }) => kind === 'intent' && operation === 'kms.crl.issue').map(({ facts }) => facts?.public?.['number'])
    expect(new Set(numbers).size).toBe(numbers.length)
  })

  test('a revocation that was edited or replayed away stays listed', async () => {
    const [a] = await at.issueCards()
    const [before] = await at.database.ownerSql.query(`select version, mac from certificates where subject_id = $1`, [a])
    const serial = await at.revoke(a)
    await at.issueCrl()
    const undo = `update certificates set state = 'issued', reason = null, revoked_at = null, version = $2, mac = $3 where serial = $1`
    await at.database.ownerSql.query(undo, [serial, (before as { version: number }).version, (before as { mac: Uint8Array }).mac])
    expect(await at.kms.cardCertificates.find(a ?? '')).toMatchObject({ state: 'issued' })
    expect(serialsIn(await at.issueCrl())).toEqual([serial])
  })

  test.each([
    ['a revocation whose date was edited', `update certificates set revoked_at = revoked_at + interval '1 minute' where state = 'revoked'`],
    [
      'a revocation that the database’s owner made up',
      `update certificates set state = 'revoked', reason = 'superseded', revoked_at = now() where subject_kind = 'card'`,
    ],
    ['a list that was edited', `update crls set der = set_byte(der, 60, 1 + get_byte(der, 60) % 100) where authority = 'cards'`],
    ['a row of the list that was edited', `update crls set count = count + 1 where authority = 'cards'`],
    ['a number that was set back', `update crls set planned_number = 2, number = 1 where authority = 'cards'`],
  ])('%s stops the next one, and is recorded', async (_what, edit) => {
    const [a] = await at.issueCards()
    await at.issueCrl()
    await at.issueCrl()
    await at.revoke(a)
    await at.database.ownerSql.query(edit)
    expect(await codeOf(at.ask('kms.crl.issue', { authority: 'cards' }))).toBe('integrity-failed')
    expect(at.entries.at(-1)).toMatchObject({ kind: 'refusal', operation: 'kms.crl.issue', code: 'integrity-failed' })
    expect((await at.database.sql.query<{ version: number }>(`select version from crls where authority = 'cards'`))[0]?.version).toBe(4)
  })

  test('an edited list is not served, by who has not seen it', async () => {
    await at.issueCrl()
    await at.database.ownerSql.query(`update crls set der = set_byte(der, 60, 1 + get_byte(der, 60) % 100)`)
    expect(await codeOf(at.feature().findCrl('cards'))).toBe('integrity-failed')
    expect((await at.kms.findCrl('cards'))?.number).toBe(1)
  })

  test('a list of before, put back with its MAC, is neither served nor followed', async () => {
    await at.issueCrl()
    await at.database.ownerSql.query('create table old as select * from crls')
    await at.issueCrl()
    await at.database.ownerSql.query('delete from crls')
    await at.database.ownerSql.query('insert into crls select * from old')
    expect(await codeOf(at.kms.findCrl('cards'))).toBe('integrity-failed')
    expect(await codeOf(at.ask('kms.crl.issue', { authority: 'cards' }))).toBe('integrity-failed')
  })
})

describe('the CRL job', () => {
  inAWorld()

  test('issues all at start, one soon after a revocation here or on another node, and each day', async () => {
    const [a, b] = await at.issueCards()
    const count = async () => (await at.kms.findCrl('cards'))?.count
    const other = at.feature()
    at.kms.crlJob.start()
    await until(async () => (await Promise.all((['root', 'callers', 'cards'] as const).map((one) => at.kms.findCrl(one)))).every((crl) => crl !== undefined))
    await at.revoke(a)
    await until(async () => (await count()) === 1)
    await at.kms.crlJob.stop()
    await at.revoke(b)
    other.crlJob.start()
    await until(async () => (await count()) === 2)
    const number = (await at.kms.findCrl('cards'))?.number
    await sleep(100)
    expect((await at.kms.findCrl('cards'))?.number).toBe(number)
    at.clock.now = new Date(at.clock.now.getTime() + 86_400_000)
    await until(async () => (await at.kms.findCrl('cards'))?.number === (number ?? 0) + 1)
    await other.crlJob.stop()
    expect(at.failures).toEqual([])
  })

  test('a revocation that commits after a list but was dated before it is listed next', async () => {
    const [a, b] = await at.issueCards()
    await at.revoke(a)
    at.kms.crlJob.start()
    await until(async () => (await at.kms.findCrl('cards'))?.count === 1)
    at.clock.now = new Date(at.clock.now.getTime() - 600_000)
    const late = await at.revoke(b)
    await until(async () => (await at.kms.findCrl('cards'))?.count === 2)
    expect(serialsIn((await at.kms.findCrl('cards')) as ServedCrl)).toContain(late)
  })
})
