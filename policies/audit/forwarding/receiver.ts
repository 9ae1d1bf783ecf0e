import { isIP } from 'node:net'

/** Where entries are forwarded to: a receiver of RFC 5424 messages over TLS (RFC 5425). Paths are of PEM files, which are read at each connection, so that they can be renewed. */
export interface Receiver {
  /** What its position is kept under: a receiver that moves keeps its name. */
  readonly name: string
  readonly host: string
  /** RFC 5425 4.1: 6514. */
  readonly port: number
  /** The CAs that may have issued its certificate: no others are trusted. */
  readonly caFile: string
  /** The name that its certificate must have. */
  readonly serverName: string
  /** The service's own, where the receiver wants to know who sends. */
  readonly certificateFile?: string
  readonly keyFile?: string
}

const SCHEME = 'syslog+tls:'
const NAME = /^[A-Za-z0-9][A-Za-z0-9._:-]{0,63}$/
const KNOWN = new Set(['ca', 'name', 'server-name', 'certificate', 'key'])

/** Reads `syslog+tls://HOST[:PORT]?ca=FILE[&name=...][&server-name=...][&certificate=FILE&key=FILE]`. Throws an Error that says what is wrong, and no value. */
export function parseReceiver(text: string): Receiver {
  const url = URL.canParse(text) ? new URL(text) : undefined
  if (url?.protocol !== SCHEME || url.hostname === '') throw new Error('not of the form syslog+tls://HOST:PORT?ca=FILE')
  if (url.username !== '' || url.password !== '' || url.hash !== '' || !['', '/'].includes(url.pathname))
    throw new Error('a receiver has a host, a port and a query, and nothing else')
  const given = new Map<string, string>()
  for (const [key, value] of url.searchParams) {
    if (!KNOWN.has(key) || given.has(key) || value === '') throw new Error(`a receiver has each of ${[...KNOWN].join(', ')} once, and not empty`)
    given.set(key, value)
  }
  const host = url.hostname.replace(/^\[(.*)\]$/, '$1')
  const port = url.port === '' ? 6514 : Number(url.port)
  const [caFile, certificateFile, keyFile] = [given.get('ca'), given.get('certificate'), given.get('key')]
  if (caFile === undefined) throw new Error('ca is missing: the file of the CAs that may have issued the receiver’s certificate')
  if ((certificateFile === undefined) !== (keyFile === undefined)) throw new Error('certificate and key belong together')
  const name = given.get('name') ?? `${isIP(host) === 6 ? host.replaceAll(':', '-') : host}:${String(port)}`
  if (!NAME.test(name)) throw new Error('a name has letters, digits and . _ : -, at most 64')
  return {
    ...{ name, host, port, caFile, serverName: given.get('server-name') ?? host },
    ...(certificateFile === undefined || keyFile === undefined ? {} : { certificateFile, keyFile }),
  }
}

/** All receivers, whose names differ. Throws an Error. */
export function parseReceivers(texts: readonly string[]): Receiver[] {
  const receivers = texts.map(parseReceiver)
  if (new Set(receivers.map(({ name }) => name)).size < receivers.length) throw new Error('two receivers have one name')
  return receivers
}
