import type { Fault, FaultAction } from './fault-module.ts'

/** A fault as a token has it. */
export interface FaultKind {
  /** `pids`: the lanes that live when it begins. */
  readonly faults: (pids: readonly number[]) => readonly Fault[]
  /** How long it lasts after its first blow. Default 0: one blow. */
  readonly lastsMs?: number
}

const CKR = {
  HOST_MEMORY: 0x2,
  GENERAL_ERROR: 0x5,
  DEVICE_ERROR: 0x30,
  DEVICE_MEMORY: 0x31,
  FUNCTION_CANCELED: 0x50,
  KEY_HANDLE_INVALID: 0x60,
  OBJECT_HANDLE_INVALID: 0x82,
  OPERATION_ACTIVE: 0x90,
  OPERATION_NOT_INITIALIZED: 0x91,
  SESSION_CLOSED: 0xb0,
  SESSION_COUNT: 0xb1,
  SESSION_HANDLE_INVALID: 0xb3,
  TOKEN_NOT_PRESENT: 0xe0,
  USER_NOT_LOGGED_IN: 0x101,
} as const

/** Long enough that lanes are started in vain meanwhile. */
const WHILE_MS = 700
/** Long enough that they are not started as often any more. */
const LONG_MS = 4_000

const answer = (name: keyof typeof CKR): FaultAction => ({ kind: 'answer', value: CKR[name] })
const answerDone = (name: keyof typeof CKR): FaultAction => ({ kind: 'answer', value: CKR[name], done: true })

/** One call of a function, after some that are well. */
const once = (name: Fault['function'], action: FaultAction): FaultKind => ({ faults: () => [{ function: name, action, after: 3, times: 1 }] })
/** One call in each lane. */
const onceInEach = (name: Fault['function'], action: FaultAction): FaultKind => ({
  faults: (pids) => pids.map((pid) => ({ function: name, action, after: 3, times: 1, pid })),
})
/** Every call, in every process. */
const lasting = (name: Fault['function'], action: FaultAction, ...more: readonly Fault[]): FaultKind => ({
  faults: () => [{ function: name, action }, ...more],
  lastsMs: WHILE_MS,
})
/** Every lane dies, and what takes its place meets the fault while it starts. */
const atTheStart = (name: Fault['function'], action: FaultAction): FaultKind =>
  lasting(name, action, { function: 'C_Sign', action: { kind: 'crash' }, times: 2 })

/** What a token and its module do to a service: each by its name. */
export const FAULT_KINDS: Readonly<Record<string, FaultKind>> = {
  'a session closed in the middle of a signature': once('C_Sign', { kind: 'close' }),
  'every session closed, in each lane': onceInEach('*', { kind: 'close-all' }),
  'CKR_SESSION_HANDLE_INVALID in the middle of a signature': once('C_Sign', answer('SESSION_HANDLE_INVALID')),
  'CKR_SESSION_CLOSED although the signature was made': once('C_Sign', answerDone('SESSION_CLOSED')),
  'CKR_OPERATION_ACTIVE': onceInEach('C_SignInit', answer('OPERATION_ACTIVE')),
  'CKR_OPERATION_NOT_INITIALIZED': once('C_Encrypt', answer('OPERATION_NOT_INITIALIZED')),
  'CKR_FUNCTION_CANCELED': once('C_Sign', answer('FUNCTION_CANCELED')),

  'the login lost in each lane, in the middle of a signature': onceInEach('C_Sign', { kind: 'logout' }),
  'CKR_USER_NOT_LOGGED_IN': once('C_SignInit', answer('USER_NOT_LOGGED_IN')),

  'a crash inside C_Sign': once('C_Sign', { kind: 'crash' }),
  'a crash inside C_UnwrapKey, in each lane': onceInEach('C_UnwrapKey', { kind: 'crash' }),
  'a module that ends its process': once('C_GenerateKeyPair', { kind: 'exit' }),

  'the token taken out of its slot, and put back': { ...lasting('*', { kind: 'removed' }), lastsMs: LONG_MS },
  'CKR_TOKEN_NOT_PRESENT': once('C_GetTokenInfo', answer('TOKEN_NOT_PRESENT')),
  'CKR_TOKEN_NOT_PRESENT from everything, for a while': lasting('*', answer('TOKEN_NOT_PRESENT')),

  'CKR_DEVICE_ERROR': once('C_Sign', answer('DEVICE_ERROR')),
  'CKR_DEVICE_ERROR although it was done': once('C_DestroyObject', answerDone('DEVICE_ERROR')),
  'CKR_DEVICE_ERROR from everything, for a while': lasting('*', answer('DEVICE_ERROR')),
  'CKR_HOST_MEMORY from everything, for a while': lasting('*', answer('HOST_MEMORY')),
  'CKR_DEVICE_MEMORY from C_UnwrapKey, for a while': lasting('C_UnwrapKey', answer('DEVICE_MEMORY')),
  'CKR_GENERAL_ERROR': once('C_GenerateKey', answer('GENERAL_ERROR')),
  'CKR_DEVICE_ERROR from C_WrapKey, for a while': lasting('C_WrapKey', answer('DEVICE_ERROR')),
  'CKR_KEY_HANDLE_INVALID': once('C_SignInit', answer('KEY_HANDLE_INVALID')),
  'CKR_OBJECT_HANDLE_INVALID': once('C_DestroyObject', answer('OBJECT_HANDLE_INVALID')),

  'a full session table': lasting('C_OpenSession', answer('SESSION_COUNT'), { function: '*', action: { kind: 'close-all' }, times: 1 }),
  'CKR_DEVICE_ERROR from C_Login while lanes start': atTheStart('C_Login', answer('DEVICE_ERROR')),
  'CKR_DEVICE_ERROR from C_WrapKey while lanes start': atTheStart('C_WrapKey', answer('DEVICE_ERROR')),

  'calls that hang, in every lane': { faults: (pids) => pids.map((pid) => ({ function: 'C_Sign', action: { kind: 'hang' }, pid })), lastsMs: 2_000 },
  'calls that take long, for a while': lasting('C_Sign', { kind: 'slow', byMs: 5 }),
}
