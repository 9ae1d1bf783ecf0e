import { afterEach, describe, expect, it, vi } from 'vitest'
import { Problem } from '../../core/problem.ts'
import { sqlOf } from '../../core/tx.ts'
import { systemCaller } from '../caller.ts'
import { PgLoginBudgets } from './login-budgets.pg.ts'
import { MOST_WRONG_CODES } from './login.ts'
import { PgCredentialStore } from './credential-store.pg.ts'
import { testSealer } from '../testing/row-sealer.ts'
import { type Enrolled, PeopleHouse } from './testing/people-house.ts'

let house: PeopleHouse
afterEach(() => house.close())
const open = async (given: Parameters<typeof PeopleHouse.open>[0] = {}): Promise<PeopleHouse> => (house = await PeopleHouse.open(given))

const sessionOf = (token: string) => house.feature.findSession(token)
const refusals = (operation: string): (string | undefined)[] =>
  house.entries.filter((entry) => entry.kind === 'refusal' && entry.operation === `policies.${operation}`).map(({ code }) => code)

describe('a person', () => {
  it('stands behind each registration of a human kind; a second one names them', async () => {
    await open()
    const officer = await house.register('officer', 'chen')
    expect(officer.personId).toMatch(/-7/)
    expect(await house.refused('caller.register', { kind: 'business', name: 'chen' })).toMatchObject({
      code: 'conflict',
      detail: expect.stringContaining('`person`') as string,
    })
    const business = await house.register('business', 'chen', 'chen')
    expect(business.personId).toBe(officer.personId)
    expect((await house.register('module', 'billing')).personId).toBeUndefined()
    expect((await house.refused('caller.register', { kind: 'module', name: 'b', person: 'chen' })).code).toBe('conflict')
    expect((await house.refused('caller.register', { kind: 'business', name: 'x', person: 'nobody-there' })).code).toBe('not-found')
    const { persons } = await house.ask<{ persons: { name: string; callers: { kind: string }[] }[] }>('person.list', {})
    expect(persons.map(({ name, callers }) => [name, callers.map(({ kind }) => kind)])).toEqual([['chen', ['business', 'officer']]])
  })

  it.each([
    ['auditor', 'officer'],
    ['officer', 'auditor'],
    ['auditor', 'business'],
    ['business', 'auditor'],
  ] as const)('is not %s and %s at the same time', async (first, second) => {
    await open()
    const { callerId } = await house.register(first, 'chen')
    expect(await house.refused('caller.register', { kind: second, name: 'chen2', person: 'chen' })).toMatchObject({
      code: 'conflict',
      detail: expect.stringContaining(first) as string,
    })
    await house.ask('caller.revoke', { callerId })
    await house.register(second, 'chen2', 'chen')
  })

  it('is not two of a kind, nor two that exclude each other when both are asked for at once', async () => {
    await open()
    await house.ask('person.register', { name: 'chen' })
    const asked = await Promise.allSettled(
      (['auditor', 'officer', 'auditor', 'officer'] as const).map((kind, at) =>
        house.ask('caller.register', { kind, name: `chen-${String(at)}`, person: 'chen' }),
      ),
    )
    expect(asked.filter(({ status }) => status === 'fulfilled')).toHaveLength(1)
    for (const one of asked) if (one.status === 'rejected') expect(one.reason).toMatchObject({ code: 'conflict' })
    const [person] = (await house.ask<{ persons: { callers: { kind: string }[] }[] }>('person.list', {})).persons
    const kind = person?.callers[0]?.kind
    expect((await house.refused('caller.register', { kind, name: 'again', person: 'chen' })).detail).toContain('already')
  })

  it('is the unit of another: two officers’ registrations of one person are one', async () => {
    await open()
    const first = await house.register('officer', 'chen')
    await house.ask('caller.revoke', { callerId: first.callerId })
    const second = await house.register('officer', 'chen-new', 'chen')
    const other = await house.register('officer', 'dora')
    const person = { id: first.personId, name: 'chen' }
    const chen = { kind: 'officer', name: 'chen-new', id: second.callerId, person } as const
    const { samePerson } = house.callers
    expect(await samePerson('urn:gridseal:officer:chen', chen)).toBe(true)
    expect(await samePerson('urn:gridseal:officer:chen-new', chen)).toBe(true)
    expect(await samePerson('urn:gridseal:person:chen', chen)).toBe(true)
    expect(await samePerson('urn:gridseal:officer:dora', chen)).toBe(false)
    expect(await samePerson('urn:gridseal:module:chen', chen)).toBe(false)
    expect(
      await samePerson('urn:gridseal:officer:chen', { kind: 'officer', name: 'dora', id: other.callerId, person: { id: other.personId, name: 'dora' } }),
    ).toBe(false)
    await expect(samePerson('urn:gridseal:officer:deleted', chen)).rejects.toMatchObject({ code: 'integrity-failed' })
    expect(await samePerson('urn:gridseal:module:billing', { kind: 'module', name: 'billing', id: 'm' })).toBe(true)
  })

  it('is revoked whole, by another; nobody revokes a registration of their own person', async () => {
    await open()
    const { callerId, personId } = await house.register('officer', 'chen')
    const chen = { kind: 'officer', name: 'chen', id: callerId, person: { id: personId, name: 'chen' } } as const
    const business = await house.register('business', 'chen-b', 'chen')
    expect(await house.feature.findActive(business.callerId)).toMatchObject({ kind: 'business', person: { id: personId } })
    expect((await house.refused('person.revoke', { personId }, chen)).detail).toMatch(/Nobody/)
    expect((await house.refused('caller.revoke', { callerId: business.callerId }, chen)).detail).toMatch(/Nobody/)
    await house.ask('person.revoke', { personId })
    expect(await house.feature.findActive(business.callerId)).toBeUndefined()
    expect(await house.feature.findActive(callerId)).toBeUndefined()
    expect((await house.refused('person.revoke', { personId })).code).toBe('conflict')
    expect((await house.refused('caller.register', { kind: 'business', name: 'again', person: 'chen' })).code).toBe('conflict')
    expect((await house.refused('person.issue-ticket', { personId })).code).toBe('conflict')
  })

  it('is made of each registration from before there were persons, once', async () => {
    await open()
    const { callers } = house.callers
    const made = { state: 'active', registeredBy: 'urn:gridseal:officer:alice', registeredAt: '2026-11-01T00:00:00.000Z', version: 1 } as const
    await house.db.transact(async (tx) => {
      await callers.insert(tx, { id: 'a1', kind: 'officer', name: 'alice', ...made })
      await callers.insert(tx, { id: 'a2', kind: 'auditor', name: 'alice', ...made })
      await callers.insert(tx, { id: 'a3', kind: 'module', name: 'alice', ...made })
    })
    expect(await house.feature.findActive('a1'), 'who belongs to nobody gets in nowhere').toBeUndefined()
    await house.feature.adoptRegistrations()
    await house.feature.adoptRegistrations()
    const { persons } = await house.ask<{ persons: { name: string; callers: { callerId: string }[] }[] }>('person.list', {})
    expect(persons.map(({ name, callers: all }) => [name, all.map(({ callerId }) => callerId)])).toEqual([
      ['alice', ['a2']],
      ['alice.officer', ['a1']],
    ])
    expect(await house.feature.findActive('a1')).toMatchObject({ kind: 'officer', person: { name: 'alice.officer' } })
    expect(await house.feature.findActive('a3')).toEqual({ kind: 'module', name: 'alice', id: 'a3' })
    expect(house.entries.filter(({ operation, kind }) => operation === 'policies.person.adopt' && kind === 'outcome')).toHaveLength(1)
  })

  it('whose row was edited lets nobody in', async () => {
    await open()
    const { callerId, personId } = await house.register('business', 'chen')
    await house.ask('person.revoke', { personId })
    await house.db.ownerSql.query(`UPDATE persons SET state = 'active'`)
    await expect(house.feature.findActive(callerId)).rejects.toMatchObject({ code: 'integrity-failed' })
    await expect(house.db.sql.query('DELETE FROM persons')).rejects.toThrow(/permission denied/)
  })
})

describe('enrolment', () => {
  it('goes by a ticket: password, secret, first code; each once', async () => {
    await open()
    const { personId } = await house.register('business', 'chen')
    const { ticket } = await house.ask<{ ticket: string }>('person.issue-ticket', { personId })
    const nobody = house.nobody()
    expect((await house.refused('totp.enrol', { ticket }, nobody)).detail).toBe('Set the password first.')
    await house.ask('password.set', { ticket, password: 'tower gravel anise 9' }, nobody)
    expect((await house.refused('password.set', { ticket, password: 'another long thing 8' }, nobody)).code).toBe('conflict')
    expect((await house.refused('totp.confirm', { ticket, code: '000000' }, nobody)).detail).toMatch(/Make a secret first/)
    const { uri, qr, secret } = await house.ask<{ uri: string; qr: string; secret: string }>('totp.enrol', { ticket }, nobody)
    expect(uri).toBe(`otpauth://totp/Gridseal:chen?secret=${secret}&issuer=Gridseal&algorithm=SHA1&digits=6&period=30`)
    expect(qr).toMatch(/^<svg /)
    expect(secret).toMatch(/^[A-Z2-7]{32}$/)
    expect((await house.refused('totp.confirm', { ticket, code: '000000' }, nobody)).code).toBe('login-failed')
    expect((await house.loginRefused({ name: 'chen', password: 'tower gravel anise 9' })).code, 'not before a code was shown').toBe('login-failed')

    const again = await house.ask<{ secret: string }>('totp.enrol', { ticket }, nobody)
    expect(again.secret).not.toBe(secret)
    const { totpOf } = await import('./testing/people-house.ts')
    expect((await house.refused('totp.confirm', { ticket, code: totpOf(secret, new Date(house.nowMs)) }, nobody)).code).toBe('login-failed')
    const { recoveryCodes, device } = await house.ask<{ recoveryCodes: string[]; device: string }>(
      'totp.confirm',
      { ticket, code: totpOf(again.secret, new Date(house.nowMs)) },
      nobody,
    )
    expect(device).toMatch(/^[\w-]{64}$/)
    expect(new Set(recoveryCodes).size).toBe(10)
    for (const code of recoveryCodes) expect(code).toMatch(/^[A-Z2-7]{4}(-[A-Z2-7]{4}){3}$/)
    for (const [name, body] of [
      ['password.set', { password: 'another long thing 8' }],
      ['totp.enrol', {}],
      ['totp.confirm', { code: '123456' }],
    ] as const)
      expect(await house.refused(name, { ticket, ...body }, nobody), name).toMatchObject({
        code: 'conflict',
        detail: expect.stringMatching(/was used/) as string,
      })
  })

  it('a ticket ends after a day, with the next one, and is nothing when guessed: that has no entry', async () => {
    await open()
    const { personId } = await house.register('auditor', 'ann')
    const first = await house.ask<{ ticket: string }>('person.issue-ticket', { personId })
    const second = await house.ask<{ ticket: string }>('person.issue-ticket', { personId })
    const password = 'tower gravel anise 9'
    const before = house.entries.length
    expect((await house.refused('password.set', { ticket: first.ticket, password }, house.nobody())).code).toBe('ticket-invalid')
    expect((await house.refused('password.set', { ticket: 'A'.repeat(43), password }, house.nobody())).code).toBe('ticket-invalid')
    expect(house.entries).toHaveLength(before)
    house.nowMs += 24 * 3_600_000
    expect(await house.refused('password.set', { ticket: second.ticket, password }, house.nobody())).toMatchObject({
      code: 'conflict',
      detail: expect.stringMatching(/has ended/) as string,
    })
  })

  it('is not for officers, nor does anybody give themselves a ticket', async () => {
    await open()
    const { personId } = await house.register('officer', 'chen')
    expect(await house.refused('person.issue-ticket', { personId })).toMatchObject({
      code: 'conflict',
      detail: expect.stringMatching(/certificate alone/) as string,
    })
    const business = await house.register('business', 'chen-b', 'chen')
    const chen = { kind: 'officer', name: 'chen', id: 'x', person: { id: business.personId, name: 'chen' } } as const
    expect(await house.refused('person.issue-ticket', { personId }, chen)).toMatchObject({
      code: 'conflict',
      detail: expect.stringMatching(/themselves/) as string,
    })
  })

  it('takes no weak password, nor one with the name in it', async () => {
    await open()
    const { personId } = await house.register('business', 'chenwei')
    const { ticket } = await house.ask<{ ticket: string }>('person.issue-ticket', { personId })
    for (const password of ['short', 'password1234', 'Chenwei-is-my-name', 'gridseal-forever'])
      expect((await house.refused('password.set', { ticket, password }, house.nobody())).code, password).toBe('password-weak')
    await house.ask('password.set', { ticket, password: 'tower gravel anise 9' }, house.nobody())
    expect(JSON.stringify(house.entries)).not.toContain('tower')
  })

  it('a new ticket takes password, codes and sessions of before away', async () => {
    await open()
    const chen = await house.enrol('chen')
    const { token } = await house.login(chen)
    expect(await sessionOf(token)).toBeDefined()
    house.nowMs += 30_000
    const { ticket } = await house.ask<{ ticket: string }>('person.issue-ticket', { personId: chen.personId })
    await house.ask('password.set', { ticket, password: 'other words entirely 4' }, house.nobody())
    expect(await sessionOf(token)).toBeUndefined()
    expect((await house.loginRefused(chen)).code).toBe('login-failed')
    expect((await house.loginRefused({ ...chen, password: 'other words entirely 4' })).code, 'the old codes go with the old password').toBe('login-failed')
  })
})

describe('a login', () => {
  it('is a session that says who one is, with one entry that says no secret', async () => {
    await open()
    const chen = await house.enrol('chen')
    const { token, sessionId } = await house.login(chen)
    expect(await sessionOf(token)).toEqual({
      ...{ sessionId, address: '10.1.0.1', certificate: undefined },
      caller: { kind: 'business', name: 'chen', id: chen.callerId, person: { id: chen.personId, name: 'chen' } },
    })
    const outcome = house.entries.findLast(({ operation, kind }) => operation === 'policies.session.open' && kind === 'outcome')
    expect(outcome).toMatchObject({
      code: 'ok',
      caller: { kind: 'anonymous', address: '10.1.0.1' },
      facts: { public: { personId: chen.personId, subject: 'urn:gridseal:business:chen', sessionId, secondFactor: 'totp', knownDevice: false } },
    })
    const told = JSON.stringify(house.entries)
    for (const secret of [token, chen.password, ...chen.recoveryCodes]) expect(told).not.toContain(secret)
    const stored = JSON.stringify(
      await Promise.all(
        ['passwords', 'otps', 'tickets', 'sessions', 'session_uses'].map((name) => house.db.ownerSql.query(`SELECT t::text FROM person_${name} t`)),
      ),
    )
    for (const secret of [token, chen.password, ...chen.recoveryCodes]) {
      expect(stored).not.toContain(secret)
      expect(stored).not.toContain(Buffer.from(secret).toString('hex'))
    }
  })

  it('is refused in the same words, whatever is wrong, and has an entry each time', async () => {
    await open()
    const chen = await house.enrol('chen')
    const revoked = await house.enrol('revoked')
    await house.ask('person.revoke', { personId: revoked.personId })
    const ended = await house.enrol('ended')
    await house.ask('caller.revoke', { callerId: ended.callerId })
    await house.register('officer', 'olga')
    const cases: readonly (readonly [string, object])[] = [
      ['a wrong password', { password: 'tower gravel anise 8' }],
      ['a wrong code', { code: '000000' }],
      ['a code of another time', { code: chen.code(new Date(house.nowMs + 120_000)) }],
      ['a wrong recovery code', { code: undefined, recoveryCode: 'AAAA-AAAA-AAAA-AAAA' }],
      ['a name that is nobody’s', { name: 'nobody-there' }],
      ['a name that cannot be one', { name: 'Robert’); DROP TABLE persons;--' }],
      ['an officer', { name: 'olga' }],
      ['a revoked person', { name: 'revoked', code: revoked.code() }],
      ['a person without registration', { name: 'ended', code: ended.code() }],
    ]
    const told = new Set<string>()
    for (const [what, extra] of cases) {
      const problem = await house.loginRefused(chen, extra)
      expect(problem.code, what).toBe('login-failed')
      told.add(problem.detail)
    }
    expect(told.size).toBe(1)
    expect(refusals('session.open')).toEqual(cases.map(() => 'login-failed'))
    const unknown = house.entries.filter(({ operation, facts }) => operation === 'policies.session.open' && facts?.public?.['personId'] === undefined)
    expect(unknown).toHaveLength(2)
    expect(JSON.stringify(unknown), 'a name that is none may be a password').not.toContain('nobody-there')
  })

  it('does all the work for a name that is nobody’s', async () => {
    await open()
    const chen = await house.enrol('chen')
    await house.loginRefused({ name: 'nobody-there', password: 'x' })
    const workOf = async (who: { name: string; password: string }): Promise<string[]> => {
      house.secrets.calls.length = 0
      await house.loginRefused(who)
      return [...house.secrets.calls]
    }
    expect(await workOf({ name: 'nobody-there', password: 'x' })).toEqual(await workOf({ name: chen.name, password: 'x' }))
    expect(house.secrets.calls).toEqual(['pepper login-name', 'pepper password', 'otp of 2 counters'])
  })

  it('takes each code once: of 64 at once exactly one gets in, and nothing of its step or before it afterwards', async () => {
    await open()
    const chen = await house.enrol('chen')
    const code = chen.code()
    // More than may wait for the hash at once are told so, and were not tried.
    const tries = await Promise.allSettled(Array.from({ length: 64 }, () => house.login(chen, { code })))
    const won = tries.filter(({ status }) => status === 'fulfilled')
    const lost = tries.flatMap((one) => (one.status === 'rejected' ? [(one.reason as Problem).code] : []))
    expect(won).toHaveLength(1)
    expect(lost.filter((one) => one !== 'login-failed' && one !== 'overloaded')).toEqual([])
    expect(lost.filter((one) => one === 'login-failed').length).toBeGreaterThan(20)
    expect((await house.loginRefused(chen, { code })).code).toBe('login-failed')
    expect((await house.loginRefused(chen, { code: chen.code(new Date(house.nowMs - 30_000)) })).code, 'the step before it').toBe('login-failed')
    house.nowMs += 30_000
    expect((await house.loginRefused(chen, { code })).code, 'within its window').toBe('login-failed')
    await house.login(chen)
  })

  it('takes the code of the step before, and none older', async () => {
    await open()
    const chen = await house.enrol('chen')
    house.nowMs += 300_000
    expect((await house.loginRefused(chen, { code: chen.code(new Date(house.nowMs - 60_000)) })).code).toBe('login-failed')
    expect((await house.loginRefused(chen, { code: chen.code(new Date(house.nowMs + 30_000)) })).code).toBe('login-failed')
    await house.login(chen, { code: chen.code(new Date(house.nowMs - 30_000)) })
  })

  it('takes each recovery code once, however it is written', async () => {
    await open()
    const chen = await house.enrol('chen')
    const [first = '', second = ''] = chen.recoveryCodes
    const tries = await Promise.allSettled(Array.from({ length: 16 }, () => house.login(chen, { code: undefined, recoveryCode: first })))
    expect(tries.filter(({ status }) => status === 'fulfilled')).toHaveLength(1)
    expect((await house.loginRefused(chen, { code: undefined, recoveryCode: first })).code).toBe('login-failed')
    const { recoveryCodesLeft } = await house.login(chen, { code: undefined, recoveryCode: second.toLowerCase().replaceAll('-', ' ') })
    expect(recoveryCodesLeft).toBe(8)
  })

  it('wants a code or a recovery code, and not both', async () => {
    await open()
    const chen = await house.enrol('chen')
    expect((await house.loginRefused(chen, { code: undefined })).code).toBe('request-invalid')
    expect((await house.loginRefused(chen, { recoveryCode: 'A' })).code).toBe('request-invalid')
  })

  it('fails where a row of it was edited', async () => {
    await open()
    const chen = await house.enrol('chen')
    await house.db.ownerSql.query('UPDATE person_otps SET last_step = 0')
    expect((await house.loginRefused(chen)).code).toBe('integrity-failed')
    expect(refusals('session.open')).toEqual(['integrity-failed'])
  })

  it('by a code is refused by a token that does no HMAC-SHA-1, to whomever it is', async () => {
    await open()
    const chen = await house.enrol('chen')
    const none = (): Promise<never> => Promise.reject(new Problem('mechanism-unsupported', 'The token does not do SHA_1_HMAC (0x221).'))
    house = house.restarted({ secrets: { ...house.secrets, otpHmac: none } })
    for (const name of ['chen', 'nobody-there']) expect((await house.loginRefused({ ...chen, name })).code).toBe('mechanism-unsupported')
    expect(refusals('session.open')).toEqual(['mechanism-unsupported', 'mechanism-unsupported'])
  })
})

describe('guessing', () => {
  it('waits longer and longer at one place, and nowhere else; what waits is not tried and has no entry', async () => {
    await open({ throttled: true })
    const chen = await house.enrol('chen')
    const attacker = house.nobody('10.9.9.9')
    for (let at = 0; at < 4; at++) expect((await house.loginRefused({ name: 'chen', password: 'wrong' }, {}, attacker)).code).toBe('login-failed')
    const entries = house.entries.length
    const waiting = await house.loginRefused({ name: 'chen', password: 'wrong' }, {}, attacker)
    expect(waiting).toMatchObject({ code: 'login-delayed', retryAfterSeconds: 1 })
    expect(house.entries).toHaveLength(entries)
    await house.login(chen)
  })

  it('from many addresses uses up what unknown devices share, and a known device goes past it', async () => {
    await open({ throttled: true })
    const chen = await house.enrol('chen')
    const { device } = await house.login(chen)
    house.nowMs += 30_000
    for (let at = 0; at < 20; at++) await house.loginRefused({ name: 'chen', password: 'wrong' }, {}, house.nobody(`10.9.0.${String(at)}`))
    expect((await house.loginRefused(chen, {}, house.nobody('10.9.1.1'))).code).toBe('login-delayed')
    expect((await house.loginRefused(chen)).code, 'without the device').toBe('login-delayed')
    expect((await house.loginRefused(chen, { device: 'A'.repeat(64) })).code, 'with a forged one').toBe('login-delayed')
    await house.login(chen, { device })
    const other = await house.enrol('dora')
    expect((await house.loginRefused(chen, { device: (await house.login(other)).device })).code, 'with another person’s').toBe('login-delayed')
  })

  it('at two nodes, or after a restart, gets no more: what unknown devices share is counted over all', async () => {
    await open({ throttled: true })
    const chen = await house.enrol('chen')
    const { device } = await house.login(chen)
    const nodes = [house, house.restarted({}), house.restarted({})]
    const tried = async (address: number): Promise<boolean> => {
      const node = nodes[address % nodes.length] ?? house
      return (await node.loginRefused({ name: 'chen', password: 'wrong' }, {}, house.nobody(`10.9.0.${String(address)}`))).code === 'login-failed'
    }
    const all = await Promise.all(Array.from({ length: 45 }, (_, at) => tried(at)))
    expect(all.filter(Boolean)).toHaveLength(20)
    const restarted = house.restarted({})
    const waiting = await restarted.loginRefused({ name: 'chen', password: 'wrong' }, {}, house.nobody('10.9.9.9'))
    expect(waiting.code).toBe('login-delayed')
    expect(waiting.retryAfterSeconds).toBeGreaterThan(150)
    expect(waiting.retryAfterSeconds).toBeLessThanOrEqual(180)
    // Names are not kept, whoever typed what there.
    const kept = await house.db.ownerSql.query<{ key: string }>('SELECT key FROM login_budgets')
    expect(kept.some(({ key }) => key.includes('chen'))).toBe(false)
    house.nowMs += 30_000
    restarted.nowMs = house.nowMs
    await restarted.login(chen, { device })
  })

  it('is given back in the order in which it is taken: who waits for the name holds nothing of the network', async () => {
    await open({ throttled: true })
    const { sql, ownerSql, transact } = house.db
    // As the rows lie, the network’s comes first.
    for (const key of ['network b', 'name a']) await ownerSql.query(`INSERT INTO login_budgets VALUES ($1, 0, 5, 1e6, clock_timestamp())`, [key])
    const budgets = new PgLoginBudgets(sql)
    let given: Promise<void> | undefined
    await transact(async (tx) => {
      await sqlOf(tx).query(`SELECT FROM login_budgets WHERE key = 'name a' FOR UPDATE`)
      given = budgets.giveBack(['network b', 'name a'].map((key) => ({ key, burst: 5, everyMs: 1e6 })))
      await vi.waitFor(async () => {
        const waiting = 'SELECT FROM pg_locks l JOIN pg_stat_activity a USING (pid) WHERE a.datname = current_database() AND NOT l.granted'
        expect(await ownerSql.query(waiting)).toHaveLength(1)
      }, 5000)
      expect(await sql.query(`SELECT FROM login_budgets WHERE key = 'network b' FOR UPDATE SKIP LOCKED`)).toHaveLength(1)
    })
    await given
    expect(await ownerSql.query('SELECT FROM login_budgets WHERE tokens = 1')).toHaveLength(2)
  })

  it('of one address with many names is counted over all nodes too; what succeeds is given back', async () => {
    await open({ throttled: true })
    const chen = await house.enrol('chen')
    const nodes = [house, house.restarted({})]
    const from = house.nobody('10.9.9.9')
    const all = await Promise.all(
      Array.from({ length: 80 }, async (_, at) => (await nodes[at % 2]?.loginRefused({ name: `name-${String(at)}`, password: 'wrong' }, {}, from))?.code),
    )
    expect(all.filter((code) => code === 'login-failed')).toHaveLength(60)
    await house.db.ownerSql.query('DELETE FROM login_budgets')
    for (let at = 0; at < 30; at++) {
      house.nowMs += 30_000
      const node = nodes[at % 2] ?? house
      node.nowMs = house.nowMs
      await node.login(chen)
    }
    const [left] = await house.db.ownerSql.query<{ tokens: number }>(`SELECT tokens FROM login_budgets WHERE key LIKE 'name %'`)
    expect(left?.tokens).toBe(20)
  })

  it('codes at two nodes freezes the password as at one', async () => {
    await open()
    const chen = await house.enrol('chen')
    const nodes = [house, house.restarted({})]
    for (let at = 0; at < MOST_WRONG_CODES; at++) await (nodes[at % 2] ?? house).loginRefused(chen, { code: '000000' })
    expect((await house.ask<{ persons: { login: string }[] }>('person.list', {})).persons[0]?.login).toBe('frozen')
    // A new ticket begins anew: one wrong code freezes nothing.
    const again = { ...(await house.enrolAgain({ ...chen, password: 'other words entirely 4' })), callerId: chen.callerId }
    await house.loginRefused(again, { code: '000000' })
    await house.login(again)
  })

  it('codes with the right password freezes it, which only who knows it can bring about; a ticket ends that', async () => {
    await open()
    const chen = await house.enrol('chen')
    const { token } = await house.login(chen)
    house.nowMs += 30_000
    for (let at = 0; at < 2 * MOST_WRONG_CODES; at++) await house.loginRefused({ name: 'chen', password: 'wrong' }, { code: chen.code() })
    const stateOf = async (): Promise<unknown> => (await house.ask<{ persons: { login: string }[] }>('person.list', {})).persons[0]?.login
    expect(await stateOf()).toBe('active')
    for (let at = 0; at < MOST_WRONG_CODES; at++) await house.loginRefused(chen, { code: '000000' })
    expect(await stateOf()).toBe('frozen')
    expect((await house.loginRefused(chen)).code).toBe('login-failed')
    expect(await sessionOf(token)).toBeUndefined()
    expect(house.entries.find(({ operation, kind }) => operation === 'policies.password.freeze' && kind === 'outcome')).toMatchObject({
      caller: systemCaller('login'),
    })
    const again = await house.enrolAgain({ ...chen, password: 'other words entirely 4' })
    await house.login({ ...again, callerId: chen.callerId })
  })
})

describe('what is over', () => {
  it('is deleted a week after its time, whatever it ended by, by the node that leads; what filled up goes too', async () => {
    let leads = false
    await open({ leads: () => leads, purgeMs: 20 })
    const chen = await house.enrol('chen')
    const sessions: string[] = []
    for (let at = 0; at < 3; at++) {
      sessions.push((await house.login(chen)).sessionId)
      house.nowMs += 30_000
    }
    const [old, open_, recent] = sessions
    await house.ask('session.revoke', { sessionId: open_ }, house.self(chen))
    const age = (id: string | undefined, interval: string): Promise<unknown> =>
      house.db.ownerSql.query(`UPDATE person_sessions SET expires_at = clock_timestamp() - interval '${interval}' WHERE id = $1`, [id])
    await age(old, '8 days')
    await age(open_, '8 days')
    await age(recent, '6 days')
    await house.db.ownerSql.query(
      `INSERT INTO login_budgets VALUES ('full', 19, 20, 1000, clock_timestamp() - interval '2 s'), ('empty', 0, 20, 1e6, clock_timestamp())`,
    )
    house.feature.purgeJob.start()
    await new Promise((resolve) => setTimeout(resolve, 150))
    expect(await house.db.ownerSql.query('SELECT 1 FROM person_sessions')).toHaveLength(3)
    leads = true
    const left = (): Promise<{ id: string }[]> => house.db.ownerSql.query<{ id: string }>('SELECT id FROM person_sessions')
    for (let at = 0; at < 100 && (await left()).length > 1; at++) await new Promise((resolve) => setTimeout(resolve, 20))
    await house.feature.purgeJob.stop()
    expect(await left()).toEqual([{ id: recent }])
    expect(await house.db.ownerSql.query('SELECT 1 FROM person_session_uses')).toHaveLength(1)
    expect(await house.db.ownerSql.query(`SELECT key FROM login_budgets WHERE key IN ('full', 'empty')`)).toEqual([{ key: 'empty' }])
    expect(house.entries.find(({ operation, kind }) => operation === 'policies.session.purge' && kind === 'outcome')).toMatchObject({
      ...{ code: 'ok', caller: systemCaller('sessions') },
      facts: { public: { sessions: 2 } },
    })
    expect(house.failures).toEqual([])
  })
})

describe('a session', () => {
  let chen: Enrolled
  const opened = async (): Promise<{ token: string; sessionId: string }> => {
    await open()
    chen = await house.enrol('chen')
    return house.login(chen)
  }

  it('ends unused after 15 minutes, used after 8 hours', async () => {
    const { token } = await opened()
    house.nowMs += 14 * 60_000
    expect(await sessionOf(token)).toBeDefined()
    house.nowMs += 14 * 60_000
    expect(await sessionOf(token)).toBeDefined()
    house.nowMs += 15 * 60_000
    expect(await sessionOf(token)).toBeUndefined()
    const second = await house.login(chen)
    for (let minutes = 0; minutes < 8 * 60 - 10; minutes += 10) {
      house.nowMs += 600_000
      expect(await sessionOf(second.token), String(minutes)).toBeDefined()
    }
    house.nowMs += 600_000
    expect(await sessionOf(second.token)).toBeUndefined()
  })

  it('is closed, listed and revoked by its person, and no other', async () => {
    const first = await opened()
    house.nowMs += 30_000
    const second = await house.login(chen)
    const dora = await house.enrol('dora')
    const self = house.self(chen, second.sessionId)
    const { sessions } = await house.ask<{ sessions: { sessionId: string; isThis: boolean; state: string }[] }>('session.list', {}, self)
    expect(sessions.map(({ sessionId, isThis, state }) => [sessionId, isThis, state])).toEqual([
      [second.sessionId, true, 'open'],
      [first.sessionId, false, 'open'],
    ])
    expect((await house.refused('session.revoke', { sessionId: first.sessionId }, house.self(dora))).code).toBe('not-found')
    await house.ask('session.revoke', { sessionId: first.sessionId }, self)
    expect(await sessionOf(first.token)).toBeUndefined()
    expect((await house.refused('session.revoke', { sessionId: first.sessionId }, self)).code).toBe('conflict')
    await house.ask('session.close', {}, self)
    expect(await sessionOf(second.token)).toBeUndefined()
    expect((await house.refused('session.close', {}, house.self(chen))).code).toBe('conflict')
    expect((await house.refused('session.list', {}, { kind: 'module', name: 'billing', id: 'm' })).code).toBe('conflict')
  })

  it('is listed and ended by officers', async () => {
    const { token, sessionId } = await opened()
    const { sessions } = await house.ask<{ sessions: object[] }>('person.list-sessions', { personId: chen.personId })
    expect(sessions).toMatchObject([{ sessionId, state: 'open', address: '10.1.0.1' }])
    expect(await house.ask('person.end-sessions', { personId: chen.personId })).toEqual({ ended: [sessionId] })
    expect(await sessionOf(token)).toBeUndefined()
    expect((await house.refused('person.end-sessions', { personId: chen.personId, sessionId })).code).toBe('not-found')
    expect((await house.refused('person.list-sessions', { personId: '01890000-0000-7000-8000-000000000000' })).code).toBe('not-found')
  })

  it('ends with its registration, its person, and the password', async () => {
    const { token } = await opened()
    await house.ask('caller.revoke', { callerId: chen.callerId })
    expect(await sessionOf(token)).toBeUndefined()
    const dora = await house.enrol('dora')
    const hers = await house.login(dora)
    house.nowMs += 30_000
    const body = { password: dora.password, newPassword: 'other words entirely 4', code: dora.code() }
    expect(await house.ask('password.change', body, house.self(dora, hers.sessionId))).toEqual({ changed: true })
    expect(await sessionOf(hers.token)).toBeUndefined()
    house.nowMs += 30_000
    expect((await house.loginRefused(dora)).code).toBe('login-failed')
    const again = await house.login({ ...dora, password: 'other words entirely 4' })
    await house.ask('person.revoke', { personId: dora.personId })
    expect(await sessionOf(again.token)).toBeUndefined()
  })

  it('changes no password without the old one, a code, and a good new one', async () => {
    const { sessionId } = await opened()
    house.nowMs += 30_000
    const self = house.self(chen, sessionId)
    const good = { password: chen.password, newPassword: 'other words entirely 4', code: chen.code() }
    expect((await house.refused('password.change', { ...good, password: 'wrong' }, self)).code).toBe('login-failed')
    expect((await house.refused('password.change', { ...good, code: '000000' }, self)).code).toBe('login-failed')
    expect((await house.refused('password.change', { ...good, newPassword: 'password1234' }, self)).code).toBe('password-weak')
    expect((await house.refused('password.change', { ...good, newPassword: chen.password }, self)).code).toBe('password-weak')
    await house.ask('password.change', good, self)
  })

  it('that came from elsewhere is ended, once, and it is in the log', async () => {
    const { token, sessionId } = await opened()
    const stolen = { sessionId, address: '10.6.6.6', differs: 'address' } as const
    await Promise.all([house.feature.endStolen(stolen), house.feature.endStolen(stolen)])
    expect(await sessionOf(token)).toBeUndefined()
    expect(house.failures).toEqual([])
    expect(house.entries.filter(({ operation, code }) => operation === 'policies.session.end-stolen' && code === 'ok')).toMatchObject([
      { caller: systemCaller('sessions'), facts: { public: { usedFrom: '10.6.6.6', openedFrom: '10.1.0.1', personId: chen.personId } } },
    ])
  })

  it('does not outlive its rows: one that is deleted or edited opens nothing', async () => {
    const { token } = await opened()
    await house.db.ownerSql.query(`UPDATE person_sessions SET expires_at = expires_at + interval '1 year'`)
    await expect(sessionOf(token)).rejects.toMatchObject({ code: 'integrity-failed' })
    await house.db.ownerSql.query(`UPDATE person_sessions SET expires_at = expires_at - interval '1 year'`)
    expect(await sessionOf(token)).toBeDefined()
    await house.db.ownerSql.query('DELETE FROM person_session_uses')
    expect(await sessionOf(token)).toBeUndefined()
    for (const odd of ['', 'x', `${token}x`, token.slice(1), '../../etc']) expect(await sessionOf(odd)).toBeUndefined()
  })
})

describe('the store of codes', () => {
  it('lets exactly one of 64 at once write the next version', async () => {
    await open()
    const chen = await house.enrol('chen')
    const store = new PgCredentialStore({ sql: house.db.sql, sealer: testSealer })
    const { otp } = (await store.findOtp(chen.personId)) ?? {}
    if (otp === undefined) throw new Error('no codes')
    const ends = await Promise.allSettled(
      Array.from({ length: 64 }, (_, at) => house.db.transact((tx) => store.putOtp(tx, { ...otp, lastStep: otp.lastStep + at, version: otp.version + 1 }))),
    )
    expect(ends.filter(({ status }) => status === 'fulfilled')).toHaveLength(1)
    for (const end of ends) if (end.status === 'rejected') expect(end.reason).toMatchObject({ code: 'conflict' })
  })
})
