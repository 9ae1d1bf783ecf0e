import { generateKeyPairSync } from 'node:crypto'
import { describe, expect, it } from 'vitest'
import { newOperationId } from '../core/ids.ts'
import type { CheckpointKey, TokenAdoption } from '../pkcs11/ceremonies.ts'
import type { LogRecovery } from '../policies/audit/index.ts'
import { originAfter, replacedKeys, verifierKey } from './token-succession.ts'

const FIRST = 'grid.example/audit'
const keyPair = (): CheckpointKey => ({ algorithm: 'ed25519', publicKey: generateKeyPairSync('ed25519').publicKey.export({ type: 'spki', format: 'der' }) })
const [a, b, c] = [keyPair(), keyPair(), keyPair()]

const adoption = (number: number, oldKey: CheckpointKey, newKey: CheckpointKey, logSize: number): TokenAdoption => ({
  ...{ number, operationId: newOperationId(), kind: 'checkpoint-key-replaced', oldSerial: '1', newSerial: '1', oldKey, newKey, logSize },
  adoptedAt: '2026-01-01T00:00:00.000Z',
})
const recovery = (
  number: number,
  adoptions: number,
  key: CheckpointKey,
  [from, to]: readonly [string, string],
  [logSize, lostSize]: readonly [number, number],
) =>
  ({
    ...{ number, operationId: newOperationId(), adoptions, oldKey: verifierKey(from, key), newKey: verifierKey(to, key), logSize, lostSize },
    ...{ floors: { crlNumber: 0, iccids: [] }, reason: 'a test', recoveredAt: '2026-01-01T00:00:00.000Z' },
  }) satisfies LogRecovery

/** Key b after 10 entries, recovered at 15 of 30, key c after 20, recovered twice more at 25 and 26. */
const history = {
  adoptions: [adoption(1, a, b, 10), adoption(2, b, c, 20)],
  recoveries: [recovery(1, 1, b, [FIRST, 'two'], [15, 30]), recovery(2, 2, c, ['two', 'three'], [25, 40]), recovery(3, 2, c, ['three', 'four'], [26, 27])],
}

describe('the keys of a log', () => {
  it('are those of tokens and of origins, in the order in which they signed', () => {
    expect(replacedKeys(FIRST, history).map(({ key, lastSize, lostSize }) => [key.vkey, lastSize, lostSize])).toEqual([
      [verifierKey(FIRST, a), 10, 30],
      [verifierKey(FIRST, b), 15, 30],
      [verifierKey('two', b), 20, 40],
      [verifierKey('two', c), 25, 40],
      [verifierKey('three', c), 26, 27],
    ])
    expect(originAfter(FIRST, history)).toBe('four')
    expect([1, 2, 3].map((adoptions) => originAfter(FIRST, history, adoptions))).toEqual([FIRST, 'two', 'four'])
  })

  it('are one where nothing happened', () => {
    expect(replacedKeys(FIRST, { adoptions: [], recoveries: [] })).toEqual([])
    expect(originAfter(FIRST, { recoveries: [] })).toBe(FIRST)
  })

  it('are refused with the origin of another log in the settings', () => {
    expect(() => originAfter('other.example', history)).toThrow('GRIDSEAL_ORIGIN is other.example, and the log was begun as grid.example/audit')
  })
})
