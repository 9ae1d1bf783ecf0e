import { createPublicKey } from 'node:crypto'
import { hex } from '../../core/bytes.ts'
import { writeDurably } from '../../core/durable-file.ts'
import { fingerprintOf, initialiseKeys, TokenCeremonies } from '../../pkcs11/ceremonies.ts'
import type { Config } from '../config.ts'
import { tokenOptions } from '../token-options.ts'
import { CliError } from './cli-error.ts'
import { readText } from './with-client.ts'

/** Makes token and root keys before the first start; with a recipient so that they are backed up from the first moment. */
export async function initialiseTokenCommand({
  config,
  backupRecipient,
  token,
}: {
  readonly config: Config
  readonly backupRecipient?: string
  readonly token?: string
}): Promise<void> {
  const recipient = backupRecipient === undefined ? undefined : readRecipient(backupRecipient)
  const shown = await initialiseKeys(tokenOptions(config, token), recipient === undefined ? {} : { recipient })
  const backed =
    recipient !== undefined
      ? `Its keys are backed up for the recipient ${hex(fingerprintOf(recipient))}.`
      : shown.backupKek === undefined
        ? 'Its keys have no backup.'
        : 'Its keys are backed up.'
  console.log(`The token ${shown.label}, serial ${shown.serial}, has its root keys. ${backed} Start the service: gridseal serve`)
}

/** Makes a token one that can restore another, and writes its public key. */
export async function backupRecipientCommand({ config, token, out }: { readonly config: Config; readonly token: string; readonly out: string }): Promise<void> {
  const { serial, publicKey } = await new TokenCeremonies(tokenOptions(config, token)).makeBackupRecipient()
  writeDurably(out, createPublicKey({ key: Buffer.from(publicKey), format: 'der', type: 'spki' }).export({ format: 'pem', type: 'spki' }))
  console.log(
    `${out} holds the public key of the token ${serial}, which can restore another one. Two people compare its fingerprint, told by another way:\n${hex(fingerprintOf(publicKey))}`,
  )
}

/** SPKI DER of an RSA-3072 key. */
export function readRecipient(file: string): Uint8Array {
  const text = readText(file)
  try {
    const key = createPublicKey(text)
    if (key.asymmetricKeyType === 'rsa' && (key.asymmetricKeyDetails?.modulusLength ?? 0) >= 3072) return key.export({ format: 'der', type: 'spki' })
  } catch {
    // Told below, as a key of another kind.
  }
  throw new CliError(`${file} is not the public key of a backup recipient, RSA of 3072 bits. It is made by: gridseal token backup-recipient`)
}
