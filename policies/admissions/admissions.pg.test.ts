import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import type { Problem } from '../../core/problem.ts'
import type { Caller } from '../caller.ts'
import { bob, problemOf, TwoOfficers } from '../testing/two-officers.ts'
import { admissionFeature } from './index.ts'

const DIGEST = 'ab'.repeat(32)
const FILING = {
  organisation: { name: 'Acme Cards Ltd', licenceNumber: '91330000MA27XXXXXX', licenceSha256: DIGEST },
  user: { name: 'Chen Wei', phone: '+86 571 5555 0100', mail: 'chen@acme.example' },
  responsible: { name: 'Li Na', phone: '+86 571 5555 0101', mail: 'li@acme.example' },
  assessment: { reference: 'SA-2026-17', reportSha256: DIGEST, expiresAt: '2027-11-26T00:00:00+08:00' },
}
const UNTIL = Date.parse(FILING.assessment.expiresAt)

type Answer = Record<string, unknown>
let desk: TwoOfficers
let admissions: ReturnType<typeof admissionFeature>
let acme: string

beforeAll(async () => {
  desk = await TwoOfficers.open((parts) => (admissions = admissionFeature(parts)).operations)
})
afterAll(() => desk.close())
beforeEach(async () => {
  desk.clock = new Date('2026-11-26T08:00:00Z')
  acme = await desk.register('vendor')
})

const ask = (name: string, body: object, caller?: Caller): Promise<Answer> => desk.ask(name, body, caller)
const byTwo = (name: string, body: object): Promise<Answer> => desk.byTwo(name, body)
const file = (callerId = acme, filing: object = FILING): Promise<Answer> => byTwo('admission.file', { callerId, ...filing })
const admittedUntil = async (callerId = acme, kind: Caller['kind'] = 'vendor'): Promise<number | undefined> =>
  (await admissions.withAdmission({ kind, id: callerId })).admittedUntil

describe('an admission', () => {
  it('is filed by two officers, and lets the caller in until its assessment ends', async () => {
    expect(await admittedUntil()).toBeUndefined()
    expect(await file()).toMatchObject({ state: 'admitted', version: 1, change: 'filed', changedBy: 'urn:gridseal:officer:alice', ...FILING, assessment: {} })
    expect(await admittedUntil()).toBe(UNTIL)
    expect(await ask('admission.get', { callerId: acme })).toMatchObject({ user: FILING.user, responsible: FILING.responsible, state: 'admitted' })
    desk.clock = new Date(UNTIL)
    expect(await ask('admission.get', { callerId: acme })).toMatchObject({ state: 'ended' })
    expect((await problemOf(ask('admission.file', { callerId: acme, ...FILING }))).detail).toMatch(/Change it/)
  })

  it('has persons in the log as commitments alone, and the company in clear', async () => {
    await file()
    const outcome = desk.log.entries.findLast(({ operation, kind }) => operation === 'policies.admission.file' && kind === 'outcome')
    expect(outcome?.facts?.public).toMatchObject({
      ...{ organisation: 'Acme Cards Ltd', licenceNumber: '91330000MA27XXXXXX', licenceSha256: DIGEST, assessment: 'SA-2026-17', reportSha256: DIGEST },
      admittedUntil: '2027-11-25T16:00:00.000Z',
    })
    expect(outcome?.facts?.personal).toEqual({
      ...{ userName: 'Chen Wei', userPhone: '+86 571 5555 0100', userMail: 'chen@acme.example' },
      ...{ responsibleName: 'Li Na', responsiblePhone: '+86 571 5555 0101', responsibleMail: 'li@acme.example' },
    })
    expect(outcome?.facts?.rows).toMatchObject([{ table: 'admissions', id: acme, version: 1 }])
    const told = JSON.stringify(desk.log.entries.map(({ facts }) => facts?.public))
    for (const value of [...Object.values(FILING.user), ...Object.values(FILING.responsible)]) expect(told).not.toContain(value)
  })

  it('the same persons have another digest in each row', async () => {
    await file()
    await ask('admission.change', { callerId: acme, user: FILING.user })
    const digests = desk.log.entries.flatMap(({ facts }) => facts?.rows ?? []).filter(({ table, id }) => table === 'admissions' && id === acme)
    expect(new Set(digests.map(({ digest }) => digest)).size).toBe(2)
    const salts = await desk.db.ownerSql.query<{ salt: Buffer }>('SELECT salt FROM admissions WHERE caller_id = $1', [acme])
    expect(new Set(salts.map(({ salt }) => salt.toString('hex'))).size).toBe(2)
  })

  it('is suspended by one officer at once, and resumed by two', async () => {
    await file()
    expect(await ask('admission.suspend', { callerId: acme, reason: 'keys on the loose' }, bob)).toMatchObject({
      state: 'suspended',
      reason: 'keys on the loose',
    })
    expect(await admittedUntil()).toBeUndefined()
    expect((await problemOf(ask('admission.suspend', { callerId: acme, reason: 'again' }))).code).toBe('conflict')
    // A new assessment does not let in who is suspended.
    const assessment = { ...FILING.assessment, expiresAt: '2028-01-01T00:00:00Z' }
    expect(await byTwo('admission.change', { callerId: acme, assessment })).toMatchObject({ state: 'suspended', version: 3 })
    expect(await admittedUntil()).toBeUndefined()
    expect(await byTwo('admission.resume', { callerId: acme, reason: 'they were found' })).toMatchObject({ state: 'admitted', version: 4 })
    expect(await admittedUntil()).toBe(Date.parse('2028-01-01T00:00:00Z'))
    expect((await problemOf(ask('admission.resume', { callerId: acme, reason: 'again' }))).code).toBe('conflict')
  })

  it('persons are changed by one officer; company and assessment by two; what it was is kept', async () => {
    await file()
    const responsible = { name: 'Zhang Min', phone: '0571-5555-0199', mail: 'zhang@acme.example' }
    desk.clock = new Date('2026-12-01T00:00:00Z')
    expect(await ask('admission.change', { callerId: acme, responsible }, bob)).toMatchObject({ responsible, user: FILING.user, version: 2 })
    const organisation = { ...FILING.organisation, name: 'Acme Smart Cards Ltd' }
    expect(await byTwo('admission.change', { callerId: acme, organisation, user: responsible })).toMatchObject({ organisation, version: 3 })
    const { versions } = (await ask('admission.history', { callerId: acme, limit: '2' })) as { versions: Answer[] }
    expect(versions).toMatchObject([
      { version: 3, change: 'changed', organisation, user: responsible, changedBy: 'urn:gridseal:officer:alice' },
      { version: 2, responsible, user: FILING.user, changedBy: 'urn:gridseal:officer:bob', changedAt: '2026-12-01T00:00:00.000Z' },
    ])
    expect(await ask('admission.history', { callerId: acme, before: '2' })).toMatchObject({
      versions: [{ version: 1, change: 'filed', ...FILING, assessment: {} }],
    })
  })

  it('two changes at once are one', async () => {
    await file()
    const change = (name: string): Promise<Answer> => ask('admission.change', { callerId: acme, user: { ...FILING.user, name } })
    const done = await Promise.allSettled([change('One'), change('Two'), change('Three')])
    const lost = done.flatMap((one) => (one.status === 'rejected' ? [(one.reason as Problem).code] : []))
    expect(new Set(lost)).toEqual(lost.length === 0 ? new Set() : new Set(['conflict']))
    const { version } = await ask('admission.get', { callerId: acme })
    expect(version).toBe(4 - lost.length)
  })

  it('ends that are near are listed, in the order of callers, without persons', async () => {
    const near = await desk.register('module')
    await file()
    await file(near, { ...FILING, assessment: { ...FILING.assessment, expiresAt: '2026-12-24T00:00:00Z' } })
    const listed = async (body: object): Promise<Answer[]> => ((await ask('admission.list', body)) as { admissions: Answer[] }).admissions
    const all = await listed({})
    expect(all.map(({ callerId }) => callerId)).toEqual(expect.arrayContaining([acme, near]))
    expect(all.map(({ subject }) => subject)).toEqual(all.map(({ subject }) => String(subject)).sort())
    const soon = await listed({ expiresBefore: '2027-01-01T00:00:00Z' })
    expect(soon.map(({ callerId }) => callerId)).toContain(near)
    expect(soon.map(({ callerId }) => callerId)).not.toContain(acme)
    expect(JSON.stringify(all)).not.toContain('Chen Wei')
    expect((await listed({ limit: '1', after: String(all[0]?.['callerId']) }))[0]).toEqual(all[1])
  })
})

describe('an admission is not', () => {
  it.each<[string, object, Problem['code']]>([
    ['filed without its responsible person', { responsible: undefined }, 'request-invalid'],
    ['filed with a digest that is none', { organisation: { ...FILING.organisation, licenceSha256: 'AB' } }, 'request-invalid'],
    ['filed with a name of two lines', { user: { ...FILING.user, name: 'a\nb' } }, 'request-invalid'],
    ['filed with half a surrogate', { user: { ...FILING.user, name: '\ud800' } }, 'request-invalid'],
    ['filed with a name that is written backwards', { organisation: { ...FILING.organisation, name: 'a\u202eb' } }, 'request-invalid'],
    ['filed with a mail address that is none', { user: { ...FILING.user, mail: 'nobody' } }, 'request-invalid'],
    ['filed with a time without an offset', { assessment: { ...FILING.assessment, expiresAt: '2027-11-26T00:00:00' } }, 'request-invalid'],
    ['filed with an assessment that is over', { assessment: { ...FILING.assessment, expiresAt: '2026-11-26T08:00:00Z' } }, 'conflict'],
    ['of a caller that is not there', { callerId: '00000000-0000-7000-8000-000000000099' }, 'not-found'],
  ])('%s', async (_claim, change, code) => {
    expect((await problemOf(ask('admission.file', { callerId: acme, ...FILING, ...change }))).code).toBe(code)
    expect(await admittedUntil()).toBeUndefined()
  })

  it('of a person, nor of who is revoked', async () => {
    expect((await problemOf(ask('admission.file', { callerId: await desk.register('officer'), ...FILING }))).code).toBe('conflict')
    await ask('caller.revoke', { callerId: acme })
    expect((await problemOf(ask('admission.file', { callerId: acme, ...FILING }))).code).toBe('conflict')
  })

  it('changed, suspended, resumed or shown before it is filed; nothing is no change', async () => {
    for (const [name, more] of [
      ['change', { user: FILING.user }],
      ['suspend', { reason: 'x' }],
      ['resume', { reason: 'x' }],
      ['get', {}],
      ['history', {}],
    ] as const)
      expect((await problemOf(ask(`admission.${name}`, { callerId: acme, ...more }))).detail, name).toMatch(/No admission of this caller was ever filed/)
    expect((await problemOf(ask('admission.change', { callerId: acme }))).code).toBe('request-invalid')
  })

  it('asked of people', async () => {
    expect(await admissions.withAdmission({ kind: 'officer', id: 'nobody' })).toEqual({ kind: 'officer', id: 'nobody' })
  })
})

describe('who can write the database', () => {
  const edit = async (change: string): Promise<void> => {
    await desk.db.ownerSql.query('ALTER TABLE admissions DISABLE TRIGGER append_only')
    await desk.db.ownerSql.query(`UPDATE admissions SET ${change} WHERE caller_id = $1`, [acme])
    await desk.db.ownerSql.query('ALTER TABLE admissions ENABLE TRIGGER append_only')
  }

  it.each([`expires_at = '2099-01-01'`, `state = 'admitted', version = 9`, `responsible_name = 'Nobody'`, `organisation = 'Other'`])(
    'admits nobody by %s: the row is refused',
    async (change) => {
      await file()
      await ask('admission.suspend', { callerId: acme, reason: 'a test' })
      await edit(change.includes('version') ? change.replace('version = 9', 'version = version + 8') : change)
      expect((await problemOf(admittedUntil())).code).toBe('integrity-failed')
      expect((await problemOf(ask('admission.get', { callerId: acme }))).code).toBe('integrity-failed')
    },
  )

  it('the service itself changes and deletes no version', async () => {
    await file()
    await expect(desk.db.sql.query(`UPDATE admissions SET state = 'suspended'`)).rejects.toThrow(/permission denied/)
    await expect(desk.db.sql.query('DELETE FROM admissions')).rejects.toThrow(/permission denied/)
    await expect(desk.db.ownerSql.query('DELETE FROM admissions')).rejects.toThrow(/only/)
  })
})
