import { describe, expect, it } from 'vitest'
import { keyId, newOperationId } from '../core/ids.ts'
import { assertSameToken, type RecordedRootKey } from './root-key-store.ts'
import { applyAdoptions, type CheckpointKey, type TokenAdoption } from './token-adoption.ts'

const key = (byte: number): CheckpointKey => ({ algorithm: 'ed25519', publicKey: Buffer.alloc(44, byte) })
const recorded: RecordedRootKey[] = [
  { keyId: keyId('root:checkpoint'), tokenSerial: 'a', ...key(1) },
  { keyId: keyId('root:row-mac'), tokenSerial: 'a', algorithm: 'aes-256', kcv: { method: 'aes-cmac', value: Buffer.alloc(5, 7) } },
]
const adoption = (number: number, change: Partial<TokenAdoption>): TokenAdoption => ({
  ...{ number, operationId: newOperationId(), kind: 'token-restored', logSize: 3, adoptedAt: '2026-11-25T12:00:00.000Z' },
  ...{ oldSerial: 'a', newSerial: 'b', oldKey: key(1), newKey: key(2) },
  ...change,
})
const restored = adoption(1, {})
const replaced = adoption(2, { kind: 'checkpoint-key-replaced', oldSerial: 'b', newSerial: 'b', oldKey: key(2), newKey: key(3) })

describe('what is recorded of a token', () => {
  it('is as the adoptions have left it', () => {
    expect(applyAdoptions(recorded, [])).toEqual(recorded)
    expect(applyAdoptions(recorded, [restored, replaced])).toEqual([
      { keyId: 'root:checkpoint', tokenSerial: 'b', ...key(3) },
      { ...recorded[1], tokenSerial: 'b' },
    ])
  })

  it.each([
    ['one left out', [replaced]],
    ['another order', [replaced, restored]],
    ['one of another token', [adoption(1, { oldSerial: 'x' })]],
    ['one after another key', [restored, adoption(2, { oldSerial: 'b', oldKey: key(1) })]],
    ['one twice', [restored, restored]],
  ])('is refused with %s', (_what, adoptions) => {
    expect(() => applyAdoptions(recorded, adoptions)).toThrow(/token_adoptions were changed/)
  })

  it('names the way on to a restored token that is not adopted', async () => {
    const store = {
      changing: () => Promise.resolve({ leaving: [], coming: [], retired: [] }),
      load: () => Promise.resolve(recorded),
      record: () => Promise.resolve(),
    }
    await expect(assertSameToken(store, { serial: 'b', label: '', keys: applyAdoptions(recorded, [restored]) })).rejects.toMatchObject({
      detail: expect.stringContaining('gridseal token adopt') as string,
    })
  })
})
