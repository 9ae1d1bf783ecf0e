import { Problem } from '../core/problem.ts'
import { type ChildEnvironment, takeVariable } from './child.ts'
import type { TokenSettings } from './lane-message.ts'
import { pinVariable, promptSource } from './pin.ts'
import { PinKeeper } from './pin-keeper.ts'
import { parsePkcs11Uri, type Pkcs11Uri, PROMPT } from './pkcs11-uri.ts'

/** A token, and what the processes that use it see of the environment. */
export interface NamedToken {
  readonly token: TokenSettings
  readonly environment: ChildEnvironment
}

export interface ModuleOptions {
  /** What C_Initialize hands to the module. Default none. */
  readonly libraryParameters?: string
  /** Names of environment variables that the module needs. Default none. */
  readonly passEnvironment?: readonly string[]
}

/** How a PIN that a person typed reaches the one process that logs in. */
const TYPED = 'GRIDSEAL_TYPED_PIN'

/**
 * The token of a PKCS#11 URI (RFC 7512). A PIN that is in a variable is taken out of this process's environment: only processes of pkcs11/ get it.
 * Throws the problem `hsm-unavailable`, which quotes no value.
 */
export function tokenOfUri(uri: string, options: ModuleOptions): NamedToken {
  const { pinSource, ...place } = parsed(uri)
  if (pinSource === undefined) throw misnamed('its URI has no PIN: it needs pin-source=file:/path, pin-source=env:NAME or pin-source=prompt')
  if (pinSource === PROMPT) {
    const { token, environment } = named({ ...place, pinSource: promptSource('user') }, {}, options)
    return { token, environment: { ...environment, pins: new PinKeeper() } }
  }
  const variable = pinVariable(pinSource)
  if (variable === undefined) return named({ ...place, pinSource }, {}, options)
  const set = takeVariable(variable)
  if (set === undefined) throw misnamed(`the environment has no variable ${variable}, which is to hold the PIN`)
  return named({ ...place, pinSource }, set, options)
}

const misnamed = (why: string): Problem => new Problem('hsm-unavailable', `The token is not used: ${why}.`)

function parsed(uri: string): Pkcs11Uri {
  try {
    return parsePkcs11Uri(uri)
  } catch (error) {
    throw error instanceof TypeError ? misnamed(error.message) : error
  }
}

/** A token with a PIN that was typed. */
export const tokenWithPin = (place: Omit<Pkcs11Uri, 'pinSource'>, pin: string, options: ModuleOptions): NamedToken =>
  named({ ...place, pinSource: `env:${TYPED}` }, { [TYPED]: pin }, options)

const named = (token: TokenSettings, set: ChildEnvironment['set'], { libraryParameters, passEnvironment = [] }: ModuleOptions): NamedToken => ({
  token: { ...token, ...(libraryParameters === undefined ? {} : { libraryParameters }) },
  environment: { set, pass: ['SOFTHSM2_CONF', ...passEnvironment] },
})
