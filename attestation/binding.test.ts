import { expect, it } from 'vitest'
import { type Binding, compare } from './binding.ts'

const pair = { iccid: '89860012345678901238', imei: '49015420323751', udid: '01936a5e-3c00-7000-8000-000000000001' }
const at = new Date(0)
const binding: Binding = { ...pair, id: '1', level: 'L1', state: 'bound', from: at, lastProvedAt: at, evidence: new Uint8Array(), boundBy: '', version: 1 }
const { udid: _udid, ...bare } = binding

it.each([
  ['nothing', pair, [], 'free'],
  ['the same pair', pair, [binding], 'same'],
  ['the same pair, the evidence without UDID', { iccid: pair.iccid, imei: pair.imei }, [binding], 'same'],
  ['the same pair, the binding without UDID', pair, [bare], 'same'],
  ['another card in the device', { ...pair, iccid: '8986' }, [binding], 'contradicted'],
  ['the card in another device', { ...pair, imei: '49015420323752' }, [binding], 'contradicted'],
  ['the pair with another UDID', { ...pair, udid: '01936a5e-3c00-7000-8000-000000000002' }, [binding], 'contradicted'],
  ['the same pair, its UDID in another binding too', pair, [bare, { ...binding, id: '2', iccid: '8986', imei: '3' }], 'contradicted'],
] as const)('what stands against %s', (_name, claimed, touching, kind) => {
  expect(compare(claimed, touching).kind).toBe(kind)
})
