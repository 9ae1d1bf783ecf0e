import { cryptokiError } from './errors.ts'
import { tokenError } from './token.ts'

/**
 * By these a token refuses to unwrap what it did not wrap, or what was changed, which AES-KWP and OAEP both see: CKR_WRAPPED_KEY_INVALID and _LEN_RANGE,
 * CKR_ENCRYPTED_DATA_INVALID and _LEN_RANGE; SoftHSM by CKR_GENERAL_ERROR, others by CKR_FUNCTION_FAILED.
 */
const NOT_UNWRAPPED: readonly (number | undefined)[] = [0x110, 0x112, 0x40, 0x41, 0x5, 0x6]

/** Whether it may be the blob that is wrong. Any other error of the token is its own. */
export const isNotUnwrapped = (error: unknown): boolean => NOT_UNWRAPPED.includes(cryptokiError(tokenError(error))?.code)
