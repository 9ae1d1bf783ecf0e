import { Problem, type ProblemCode } from '../core/problem.ts'

/** What a lane does after an error. `another session`: reopen and try once more. `new lane`: answer and end, the parent starts another. `give up`: answer. */
export type Remedy = 'another session' | 'new lane' | 'give up'

export interface Verdict {
  readonly problem: Extract<ProblemCode, 'hsm-unavailable' | 'hsm-failed' | 'integrity-failed' | 'mechanism-unsupported'>
  readonly remedy: Remedy
  /** For the service's own log: the number and the function, never a value. */
  readonly reason: string
}

interface Row {
  readonly name: string
  /** The functions this row is about. Absent: all that no other row names. */
  readonly functions?: readonly string[]
  readonly problem: Verdict['problem']
  readonly remedy: Remedy
}

const away = { problem: 'hsm-unavailable', remedy: 'new lane' } as const
const session = { problem: 'hsm-unavailable', remedy: 'another session' } as const
const refused = { problem: 'hsm-failed', remedy: 'give up' } as const
const unsupported = { problem: 'mechanism-unsupported', remedy: 'give up' } as const

/**
 * (return value, function) to problem and remedy: the one table. A number may have several rows; the one that names the function goes first.
 * A handle that is no longer valid was made by this lane and never destroyed, so its token has changed under it: SoftHSM reuses
 * handle numbers, so such a lane is replaced and not repaired.
 */
const TABLE: Readonly<Record<number, readonly Row[]>> = {
  0x1: [{ name: 'CKR_CANCEL', ...session }],
  0x2: [{ name: 'CKR_HOST_MEMORY', ...away }],
  0x3: [{ name: 'CKR_SLOT_ID_INVALID', ...away }],
  0x5: [{ name: 'CKR_GENERAL_ERROR', ...away }],
  0x6: [{ name: 'CKR_FUNCTION_FAILED', ...away }],
  0x7: [{ name: 'CKR_ARGUMENTS_BAD', ...refused }],
  0xa: [{ name: 'CKR_CANT_LOCK', ...away }],
  0x10: [{ name: 'CKR_ATTRIBUTE_READ_ONLY', ...refused }],
  0x11: [{ name: 'CKR_ATTRIBUTE_SENSITIVE', ...refused }],
  0x12: [{ name: 'CKR_ATTRIBUTE_TYPE_INVALID', ...refused }],
  0x13: [{ name: 'CKR_ATTRIBUTE_VALUE_INVALID', ...refused }],
  0x1b: [{ name: 'CKR_ACTION_PROHIBITED', ...refused }], // pkcs11js calls it CKR_VENDOR_DEFINED
  0x30: [{ name: 'CKR_DEVICE_ERROR', ...away }],
  0x31: [{ name: 'CKR_DEVICE_MEMORY', ...away }],
  0x32: [{ name: 'CKR_DEVICE_REMOVED', ...away }],
  0x50: [{ name: 'CKR_FUNCTION_CANCELED', ...session }],
  0x20: [{ name: 'CKR_DATA_INVALID', ...refused }],
  0x21: [{ name: 'CKR_DATA_LEN_RANGE', ...refused }],
  0x40: [{ name: 'CKR_ENCRYPTED_DATA_INVALID', ...refused }],
  0x41: [{ name: 'CKR_ENCRYPTED_DATA_LEN_RANGE', ...refused }],
  0x51: [{ name: 'CKR_FUNCTION_NOT_PARALLEL', ...refused }],
  0x54: [{ name: 'CKR_FUNCTION_NOT_SUPPORTED', ...unsupported }],
  0x60: [{ name: 'CKR_KEY_HANDLE_INVALID', ...away }],
  0x62: [{ name: 'CKR_KEY_SIZE_RANGE', ...refused }],
  0x63: [{ name: 'CKR_KEY_TYPE_INCONSISTENT', ...refused }],
  0x68: [{ name: 'CKR_KEY_FUNCTION_NOT_PERMITTED', ...refused }],
  0x69: [{ name: 'CKR_KEY_NOT_WRAPPABLE', ...refused }],
  0x6a: [{ name: 'CKR_KEY_UNEXTRACTABLE', ...refused }],
  0x70: [{ name: 'CKR_MECHANISM_INVALID', ...unsupported }],
  0x71: [{ name: 'CKR_MECHANISM_PARAM_INVALID', ...refused }],
  0x82: [{ name: 'CKR_OBJECT_HANDLE_INVALID', ...away }],
  0x90: [{ name: 'CKR_OPERATION_ACTIVE', ...session }],
  0x91: [{ name: 'CKR_OPERATION_NOT_INITIALIZED', ...session }],
  0xa0: [{ name: 'CKR_PIN_INCORRECT', ...away }],
  0xa3: [{ name: 'CKR_PIN_EXPIRED', ...away }],
  0xa4: [{ name: 'CKR_PIN_LOCKED', ...away }],
  0xb0: [{ name: 'CKR_SESSION_CLOSED', ...session }],
  0xb1: [{ name: 'CKR_SESSION_COUNT', ...away }],
  0xb3: [{ name: 'CKR_SESSION_HANDLE_INVALID', ...session }],
  0xb4: [{ name: 'CKR_SESSION_PARALLEL_NOT_SUPPORTED', ...refused }],
  0xb5: [{ name: 'CKR_SESSION_READ_ONLY', ...refused }],
  0xd0: [{ name: 'CKR_TEMPLATE_INCOMPLETE', ...refused }],
  0xd1: [{ name: 'CKR_TEMPLATE_INCONSISTENT', ...refused }],
  0xe0: [{ name: 'CKR_TOKEN_NOT_PRESENT', ...away }],
  0xe1: [{ name: 'CKR_TOKEN_NOT_RECOGNIZED', ...away }],
  0xe2: [{ name: 'CKR_TOKEN_WRITE_PROTECTED', ...refused }],
  0xf0: [{ name: 'CKR_UNWRAPPING_KEY_HANDLE_INVALID', ...away }],
  0x100: [{ name: 'CKR_USER_ALREADY_LOGGED_IN', ...away }],
  0x101: [{ name: 'CKR_USER_NOT_LOGGED_IN', ...away }],
  0x102: [{ name: 'CKR_USER_PIN_NOT_INITIALIZED', ...away }],
  0x103: [{ name: 'CKR_USER_TYPE_INVALID', ...refused }],
  0x104: [{ name: 'CKR_USER_ANOTHER_ALREADY_LOGGED_IN', ...away }],
  0x105: [{ name: 'CKR_USER_TOO_MANY_TYPES', ...away }],
  0x110: [{ name: 'CKR_WRAPPED_KEY_INVALID', functions: ['C_UnwrapKey'], problem: 'integrity-failed', remedy: 'give up' }],
  0x112: [{ name: 'CKR_WRAPPED_KEY_LEN_RANGE', functions: ['C_UnwrapKey'], problem: 'integrity-failed', remedy: 'give up' }],
  0x113: [{ name: 'CKR_WRAPPING_KEY_HANDLE_INVALID', ...away }],
  0x114: [{ name: 'CKR_WRAPPING_KEY_SIZE_RANGE', ...refused }],
  0x115: [{ name: 'CKR_WRAPPING_KEY_TYPE_INCONSISTENT', ...refused }],
  0x120: [{ name: 'CKR_RANDOM_SEED_NOT_SUPPORTED', ...refused }],
  0x121: [{ name: 'CKR_RANDOM_NO_RNG', ...away }],
  0x140: [{ name: 'CKR_DOMAIN_PARAMS_INVALID', ...refused }],
  0x150: [{ name: 'CKR_BUFFER_TOO_SMALL', ...refused }],
  0x190: [{ name: 'CKR_CRYPTOKI_NOT_INITIALIZED', ...away }],
  0x1a0: [{ name: 'CKR_MUTEX_BAD', ...away }],
  0x1a1: [{ name: 'CKR_MUTEX_NOT_LOCKED', ...away }],
  0x200: [{ name: 'CKR_FUNCTION_REJECTED', ...refused }],
}

export const DETAILS: Readonly<Record<Verdict['problem'], string>> = {
  'hsm-unavailable': 'The HSM cannot be reached. Nothing was done: ask again in some seconds.',
  'hsm-failed': 'The HSM refused an operation. Ask the operator about this operation id.',
  'mechanism-unsupported': 'The HSM does not have what this needs. What it can do the operator sees by: gridseal token check.',
  'integrity-failed': 'A stored key is not what the service wrote. Ask the operator about this operation id.',
}

/** The return value and function of an error of pkcs11js, which wraps some of them and leaves others bare. `undefined` for any other error. */
export function cryptokiError(error: unknown): { readonly code: number; readonly method: string } | undefined {
  if (!(error instanceof Error)) return undefined
  const bare = /^CKR_\w+:(\d+)/.exec(error.message)?.[1]
  const code = bare === undefined ? ('code' in error && error.name === 'Pkcs11Error' ? error.code : undefined) : Number(bare)
  if (typeof code !== 'number') return undefined
  return { code, method: /\bC_[A-Za-z]+/.exec(error.stack ?? '')?.[0] ?? 'C_?' }
}

/** Looks an error up in the table. What is not in it is `hsm-failed`; what is not an error of the token is a fault of ours. */
export function classify(error: unknown): Verdict {
  const found = cryptokiError(error)
  if (found === undefined) {
    return { problem: 'hsm-failed', remedy: 'give up', reason: error instanceof Error ? `${error.name}: ${error.message}` : 'not an error' }
  }
  const rows = TABLE[found.code] ?? []
  const row = rows.find((candidate) => candidate.functions?.includes(found.method)) ?? rows.find((candidate) => candidate.functions === undefined)
  const number = `0x${found.code.toString(16)}`
  if (row === undefined)
    return { problem: 'hsm-failed', remedy: 'give up', reason: `${found.method} answered ${rows[0]?.name ?? 'an unmapped value'} (${number})` }
  return { problem: row.problem, remedy: row.remedy, reason: `${found.method} answered ${row.name} (${number})` }
}

export const problemOf = ({ problem, reason }: Pick<Verdict, 'problem' | 'reason'>): Problem =>
  new Problem(problem, DETAILS[problem], { cause: new Error(reason) })

/** The one answer while no lane can work. */
export const unavailable = (reason: string): Problem => problemOf({ problem: 'hsm-unavailable', reason })
