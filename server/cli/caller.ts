import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { makeTlsRequest } from '../../clients/csr.ts'
import { makePkcs12 } from '../../clients/pkcs12.ts'
import { pemBlocks } from '../pem.ts'
import { CliError } from './cli-error.ts'
import { readPair } from './with-client.ts'

/** A new key and request in `out`. Never over an existing key. */
export async function writeRequest({ name, out }: { readonly name: string; readonly out: string }): Promise<void> {
  const { privateKey, csr } = await makeTlsRequest(name)
  mkdirSync(out, { recursive: true, mode: 0o700 })
  writeSecret(join(out, `${name}.key.pem`), privateKey)
  writeFileSync(join(out, `${name}.csr.pem`), csr)
  console.log(`${join(out, `${name}.key.pem`)} stays where it is. Give ${join(out, `${name}.csr.pem`)} to an officer.`)
}

export function writePkcs12(options: {
  readonly key: string
  readonly certificate: string
  readonly passwordEnv: string
  readonly password: string | undefined
  readonly out: string
}): void {
  const { password } = options
  if (password === undefined || password.length < 8)
    throw new CliError(`Set the environment variable ${options.passwordEnv} to a password of at least 8 characters.`)
  const pair = readPair(options)
  const [certificate = '', ...chain] = pemBlocks(pair.certificate)
  const file = makePkcs12({ privateKey: pair.key, certificate, chain: chain.join('\n'), password, friendlyName: 'Gridseal' })
  writeSecret(options.out, file)
  console.log(`${options.out} is written. Import it in the browser with the password.`)
}

/** Mode 0600, and never over what is there. */
export function writeSecret(path: string, content: string | Uint8Array): void {
  try {
    writeFileSync(path, content, { mode: 0o600, flag: 'wx' })
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') throw new CliError(`${path} is there already, and is not written over.`)
    throw error
  }
}
