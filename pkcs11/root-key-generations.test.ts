import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { keyId } from '../core/ids.ts'
import { generationsInUse, numberOf, type RecordedGeneration } from './generation-record.ts'
import { generationId, identityInUse, parseGeneration, ROTATED_KEY_NAMES, type SecretIdentity } from './root-key-generations.ts'
import { identityFault, type TokenIdentity } from './root-keys.ts'

const secret = (id: string, check = '01'): SecretIdentity => ({
  keyId: keyId(id),
  algorithm: 'aes-256',
  kcv: { method: 'aes-cmac', value: Buffer.from(check, 'hex') },
})
const [KEK, NEXT, MAC, GROUP] = [secret('root:storage-kek'), secret('root:storage-kek-2', '02'), secret('root:row-mac'), secret('root:group-mac')] as const
const token = (...keys: SecretIdentity[]): TokenIdentity => ({ serial: 'aa', label: 'gridseal', keys })
const record = (identity: SecretIdentity, state: RecordedGeneration['state'], version = 1): RecordedGeneration => ({
  identity,
  state,
  rotationId: 'r',
  version,
})

describe('the id of a generation', () => {
  it('is read as it is written', () => {
    fc.assert(
      fc.property(fc.constantFrom(...ROTATED_KEY_NAMES), fc.integer({ min: 1, max: 999_999 }), (key, number) => {
        expect(parseGeneration(generationId({ key, number }))).toEqual({ key, number })
      }),
    )
  })

  it.each([
    'root:storage-kek-1',
    'root:storage-kek-0',
    'root:storage-kek-02',
    'root:storage-kek-',
    'root:storage-kek-2x',
    'root:storage-kekk',
    'root:blind-index',
    'x',
  ])('is none: %s', (id) => {
    expect(parseGeneration(id)).toBeUndefined()
  })
})

describe('the generations in use', () => {
  it('are those of the token where nothing was rotated', () => {
    const inUse = generationsInUse([], token(KEK, MAC, GROUP))
    expect(inUse.number).toBe(0)
    expect(inUse.keys.map(({ identity, isCurrent }) => [identity.keyId, isCurrent])).toEqual([
      ['root:storage-kek', true],
      ['root:row-mac', true],
      ['root:group-mac', true],
    ])
  })

  it('are the current one and those before it, and no other', () => {
    const records = [record(KEK, 'retired', 4), record(NEXT, 'older', 2), record(secret('root:storage-kek-3', '03'), 'current')]
    const inUse = generationsInUse(records, token(NEXT, MAC, GROUP))
    expect(inUse.number).toBe(7)
    expect(
      inUse.keys.filter(({ identity }) => identity.keyId.startsWith('root:storage')).map(({ identity, isCurrent }) => [identity.keyId, isCurrent]),
    ).toEqual([
      ['root:storage-kek-2', false],
      ['root:storage-kek-3', true],
    ])
    expect(identityInUse(token(KEK, NEXT, MAC, GROUP, secret('root:blind-index')), inUse).keys.map(({ keyId: id }) => id)).toEqual([
      ...['root:blind-index', 'root:group-mac', 'root:row-mac', 'root:storage-kek-2', 'root:storage-kek-3'],
    ])
  })

  it.each([
    ['none is current', [record(KEK, 'older'), record(NEXT, 'older')]],
    ['two are', [record(KEK, 'current'), record(NEXT, 'current')]],
    ['one is of no key', [record(secret('root:blind-index'), 'current')]],
  ])('are refused where %s', (_claim, records) => {
    expect(() => generationsInUse(records, token(KEK, NEXT, MAC, GROUP))).toThrow(/integrity-failed/)
  })

  it('have a number that grows with every change', () => {
    const states = ['older', 'closing', 'retired'] as const
    const numbers = states.map((state, at) => numberOf([record(KEK, state, at + 1), record(NEXT, 'current')]))
    expect(numbers).toEqual([2, 3, 4])
  })
})

describe('a token while a key is rotated', () => {
  const known = { serial: 'aa', keys: [KEK, MAC] }
  it.each([
    ['a key that was made and not recorded', { ...known, coming: [NEXT.keyId] }, token(KEK, NEXT, MAC), undefined],
    ['the same, and not made', { ...known, coming: [NEXT.keyId] }, token(KEK, MAC), undefined],
    ['a key that nobody makes', known, token(KEK, NEXT, MAC), 'was never recorded'],
    ['a key that is about to be destroyed', { ...known, leaving: [KEK.keyId] }, token(KEK, MAC), undefined],
    ['the same, destroyed', { ...known, leaving: [KEK.keyId] }, token(MAC), undefined],
    ['the same, exchanged', { ...known, leaving: [KEK.keyId] }, token(secret('root:storage-kek', '09'), MAC), 'is another one'],
    ['a key that is gone', known, token(MAC), 'is not in the token any more'],
    ['a key that was retired, and is there again', { serial: 'aa', keys: [MAC], retired: [KEK.keyId] }, token(KEK, MAC), 'was retired'],
  ])('%s', (_claim, expected, found, fault) => {
    const told = identityFault(expected, found)
    if (fault === undefined) expect(told).toBeUndefined()
    else expect(told).toContain(fault)
  })
})
