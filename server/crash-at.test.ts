import { describe, expect, it } from 'vitest'
import { FAULT_POINTS } from '../core/fault-point.ts'
import { faultsAt, parseCrashAt } from './crash-at.ts'

const fill = 'card-personalization.cards.fill'

describe('where a test stops the service', () => {
  it('is a point, an operation that passes it, and which time', () => {
    for (const point of FAULT_POINTS) expect(parseCrashAt(point)).toEqual({ point, time: 1 })
    expect(parseCrashAt('order.chunk-filled#2')).toEqual({ point: 'order.chunk-filled', time: 2 })
    expect(parseCrashAt(`gate.executed@${fill}`)).toEqual({ point: 'gate.executed', operation: fill, time: 1 })
    expect(parseCrashAt(`gate.executed@${fill}#12`)).toEqual({ point: 'gate.executed', operation: fill, time: 12 })
  })

  it.each(['', 'gate', 'order.lost', 'gate.executed@', 'gate.executed#0', 'gate.executed#', 'gate.executed#1#2', `order.sealed@${fill}`])(
    'is nothing else: %j',
    (text) => {
      expect(parseCrashAt(text)).toBeUndefined()
    },
  )

  it('is reached once', () => {
    const passed: string[] = []
    const faults = faultsAt({ point: 'gate.executed', operation: fill, time: 2 }, () => passed.push('crash'))
    for (const step of ['gate.intent-committed', 'gate.executed'] as const) faults(step, fill)
    faults('gate.executed', 'kms.key.generate')
    expect(passed).toEqual([])
    for (const _more of [1, 2, 3]) faults('gate.executed', fill)
    expect(passed).toEqual(['crash'])
  })

  it('is any operation when none is named', () => {
    const passed: string[] = []
    const faults = faultsAt({ point: 'gate.outcome-written', time: 1 }, () => passed.push('crash'))
    faults('gate.outcome-written', 'kms.key.generate')
    expect(passed).toEqual(['crash'])
  })
})
