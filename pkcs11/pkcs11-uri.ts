import { pinVariable } from './pin.ts'

/** The PIN is typed at the terminal. */
export const PROMPT = 'prompt'

/** What a PKCS#11 URI (RFC 7512) says of module, token and PIN. */
export interface Pkcs11Uri {
  /** Absolute path of the PKCS#11 module. */
  readonly modulePath: string
  /** Token label. */
  readonly token?: string
  readonly serial?: string
  /** Where the user's PIN is: the absolute path of a file, `env:` and the name of a variable, or `prompt`: it is typed. */
  readonly pinSource?: string
}

const fault = (message: string): TypeError => new TypeError(`the PKCS#11 URI is not usable: ${message}`)

function decode(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    throw fault('it has a percent sign that two hexadecimal digits of UTF-8 do not follow')
  }
}

/** `name=value` pairs. A name twice is refused (RFC 7512 2.3). */
function attributes(text: string, separator: string): Map<string, string> {
  const found = new Map<string, string>()
  for (const part of text === '' ? [] : text.split(separator)) {
    const at = part.indexOf('=')
    if (at < 1) throw fault('each attribute has the form name=value')
    const name = part.slice(0, at)
    if (found.has(name)) throw fault(`${name} stands twice`)
    found.set(name, decode(part.slice(at + 1)))
  }
  return found
}

/**
 * Parses `pkcs11:token=...;serial=...?module-path=...&pin-source=file:...`. Throws a TypeError that quotes no value.
 * `pin-source` is an absolute file, or `env:NAME` or `prompt`, which are ours. Refused: `pin-value` (it would put the PIN into the configuration), other sources, and
 * attributes that name an object or select by what is not checked here.
 */
export function parsePkcs11Uri(uri: string): Pkcs11Uri {
  if (!uri.startsWith('pkcs11:')) throw fault('it begins with "pkcs11:"')
  const [path = '', query = '', ...rest] = uri.slice('pkcs11:'.length).split('?')
  if (rest.length > 0) throw fault('it has more than one question mark')
  const selection = attributes(path, ';')
  const settings = attributes(query, '&')
  for (const name of selection.keys()) if (name !== 'token' && name !== 'serial') throw fault(`"${name}" is not supported; use token and serial`)
  if (settings.has('pin-value'))
    throw fault('pin-value is refused; put the PIN into a file of mode 0600 and name it by pin-source=file:/path, or a variable by pin-source=env:NAME')
  for (const name of settings.keys()) if (name !== 'module-path' && name !== 'pin-source') throw fault(`"${name}" is not supported`)

  const modulePath = settings.get('module-path')
  if (modulePath === undefined || !modulePath.startsWith('/')) throw fault('module-path is an absolute path')
  const token = selection.get('token')
  const serial = selection.get('serial')
  if (token === undefined && serial === undefined) throw fault('it names a token, by token or serial or both')
  const source = settings.get('pin-source')
  const pinSource = source?.replace(/^file:(\/\/)?(?=\/)/, '')
  if (pinSource !== undefined && pinSource !== PROMPT && !pinSource.startsWith('/') && pinVariable(pinSource) === undefined)
    throw fault('pin-source is file: and an absolute path, env: and the name of a variable, or prompt')
  return {
    modulePath,
    ...(token === undefined ? {} : { token }),
    ...(serial === undefined ? {} : { serial }),
    ...(pinSource === undefined ? {} : { pinSource }),
  }
}
