import graphene from 'graphene-pk11'
import type { TokenInfo } from 'pkcs11js'
import { cryptokiError } from './errors.ts'

/** Which token of which module. With neither label nor serial: the first that is initialised. */
export interface TokenPlace {
  readonly modulePath: string
  /** What C_Initialize hands to the module: NSS softokn wants its folder so. Default none. */
  readonly libraryParameters?: string
  readonly token?: string
  readonly serial?: string
}

const CKF_OS_LOCKING_OK = 2
const GENERAL_ERROR = 0x5

/** Loads and initialises a module; once in a process, and never finalized: SoftHSM reuses handle numbers. */
export function openModule({ modulePath, libraryParameters }: Pick<TokenPlace, 'modulePath' | 'libraryParameters'>): graphene.Module {
  const module = graphene.Module.load(modulePath)
  // pkcs11js 2.1.7 drops the last byte.
  module.initialize({ flags: CKF_OS_LOCKING_OK, ...(libraryParameters === undefined ? {} : { libraryParameters: `${libraryParameters} ` }) })
  return module
}

const INFO_TRIES = 100
const INFO_PAUSE_MS = 5

/**
 * What a token says of itself. While the login of another process writes its file, SoftHSM answers CKR_GENERAL_ERROR, or what it has read of half a file,
 * so it is asked again for a moment, until it is `expected`.
 */
export function tokenInfo({ lib, handle }: graphene.Slot, expected: (info: TokenInfo) => boolean = () => true): TokenInfo {
  for (let left = INFO_TRIES; ; left--) {
    try {
      const info = lib.C_GetTokenInfo(handle)
      if (left === 1 || expected(info)) return info
    } catch (error) {
      if (left === 1 || cryptokiError(error)?.code !== GENERAL_ERROR) throw error
    }
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, INFO_PAUSE_MS)
  }
}

/** The slots of the initialised tokens that a place names. */
export function findSlots(module: graphene.Module, place: Omit<TokenPlace, 'modulePath'>): graphene.Slot[] {
  const slots = module.getSlots(true)
  return Array.from({ length: slots.length }, (_, at) => slots.items(at)).filter((slot) => {
    const token = tokenInfo(slot)
    return (
      (token.flags & graphene.TokenFlag.TOKEN_INITIALIZED) !== 0 &&
      (place.token === undefined || token.label.trimEnd() === place.token) &&
      (place.serial === undefined || token.serialNumber.trimEnd() === place.serial)
    )
  })
}

/** The slot of an initialised token. `undefined`: it is not there. */
export const findSlot = (module: graphene.Module, place: Omit<TokenPlace, 'modulePath'>): graphene.Slot | undefined => findSlots(module, place)[0]
