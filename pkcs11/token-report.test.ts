import { describe, expect, it } from 'vitest'
import { isFit, type OperationReport, type ProbeReport } from './token-report.ts'

const operation = (part: Partial<OperationReport>): OperationReport => ({
  name: 'aes-cmac',
  title: '',
  use: '',
  need: 'start',
  mechanisms: [],
  result: 'yes',
  wrong: false,
  ...part,
})
const probe = (result: ProbeReport['result']): ProbeReport => ({ name: 'sensitive', refuses: '', otherwise: '', result })
const fit = (part: Partial<OperationReport>, result: ProbeReport['result'] = 'enforced'): boolean =>
  isFit({ operations: [operation({}), operation(part)], probes: [probe('enforced'), probe(result)] })

describe('a token is fit', () => {
  it.each<[string, Partial<OperationReport>]>([
    ['that does everything', {}],
    ['although something is not tried', { result: 'not tried' }],
    ['although it lacks what something else takes the place of', { result: 'no', need: 'replaced' }],
  ])('%s', (_claim, part) => expect(fit(part)).toBe(true))
})

describe('a token is not fit', () => {
  it.each<[string, Partial<OperationReport>]>([
    ['that lacks what the service starts with', { result: 'no' }],
    ['that lacks what some operation needs', { result: 'no', need: 'feature' }],
    ['that does wrongly what it need not do at all', { result: 'no', need: 'replaced', wrong: true }],
  ])('%s', (_claim, part) => expect(fit(part)).toBe(false))

  it('that enforces something not', () => expect(fit({}, 'not enforced')).toBe(false))
})
