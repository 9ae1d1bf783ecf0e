import { describe, expect, it } from 'vitest'
import { classify, unavailable } from './errors.ts'

/** As pkcs11js throws them: some wrapped, some bare. */
function answered(name: string, code: number, method: string, bare = false): Error {
  const error = new Error(bare ? `${name}:${code}` : name)
  error.name = bare ? 'Error' : 'Pkcs11Error'
  error.stack = `${error.name}: ${error.message}\n    at obj.<computed> [as ${method}] (index.js:119:30)`
  return bare ? error : Object.assign(error, { code, method: '' })
}

describe('(return value, function) to problem and remedy', () => {
  it.each([
    ['CKR_DEVICE_REMOVED', 0x32, 'C_Sign', 'hsm-unavailable', 'new lane'],
    ['CKR_TOKEN_NOT_PRESENT', 0xe0, 'C_OpenSession', 'hsm-unavailable', 'new lane'],
    ['CKR_SESSION_HANDLE_INVALID', 0xb3, 'C_SignInit', 'hsm-unavailable', 'another session'],
    ['CKR_OPERATION_ACTIVE', 0x90, 'C_SignInit', 'hsm-unavailable', 'another session'],
    ['CKR_KEY_HANDLE_INVALID', 0x60, 'C_SignInit', 'hsm-unavailable', 'new lane'],
    ['CKR_MECHANISM_INVALID', 0x70, 'C_SignInit', 'mechanism-unsupported', 'give up'],
    ['CKR_WRAPPED_KEY_INVALID', 0x110, 'C_UnwrapKey', 'integrity-failed', 'give up'],
    ['CKR_WRAPPED_KEY_INVALID', 0x110, 'C_Decrypt', 'hsm-failed', 'give up'],
    ['CKR_OBJECT_HANDLE_INVALID', 0x82, 'C_DestroyObject', 'hsm-unavailable', 'new lane'],
    ['CKR_OBJECT_HANDLE_INVALID', 0x82, 'C_GetAttributeValue', 'hsm-unavailable', 'new lane'],
  ])('%s (%i) of %s', (name, code, method, problem, remedy) => {
    for (const bare of [true, false]) {
      const verdict = classify(answered(name, code, method, bare))
      expect(verdict).toMatchObject({ problem, remedy })
      expect(verdict.reason).toContain(method)
      expect(verdict.reason).toContain(`0x${code.toString(16)}`)
    }
  })

  it('0x1B, which pkcs11js calls CKR_VENDOR_DEFINED, has its own name', () => {
    expect(classify(answered('CKR_VENDOR_DEFINED', 0x1b, 'C_CopyObject', true)).reason).toBe('C_CopyObject answered CKR_ACTION_PROHIBITED (0x1b)')
  })

  it('what is not in the table, and what is not of the token, is hsm-failed with what is known', () => {
    expect(classify(answered('CKR_VENDOR_DEFINED', 0x80000001, 'C_Sign'))).toEqual({
      problem: 'hsm-failed',
      remedy: 'give up',
      reason: 'C_Sign answered an unmapped value (0x80000001)',
    })
    expect(classify(new TypeError('argument'))).toEqual({ problem: 'hsm-failed', remedy: 'give up', reason: 'TypeError: argument' })
    expect(classify('text')).toMatchObject({ problem: 'hsm-failed' })
  })

  it('a caller is told to ask again and nothing of the reason', () => {
    const problem = unavailable('C_Sign answered CKR_DEVICE_REMOVED (0x32)')
    expect(problem.status).toBe(503)
    expect(problem.detail).not.toContain('CKR')
    expect(problem.cause).toMatchObject({ message: 'C_Sign answered CKR_DEVICE_REMOVED (0x32)' })
  })
})
