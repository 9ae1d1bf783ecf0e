import { createReadStream, createWriteStream, mkdirSync, readFileSync } from 'node:fs'
import { once } from 'node:events'
import { join } from 'node:path'
import { X509Certificate } from 'node:crypto'
import { makeEncryptionCertificate } from '../../clients/csr.ts'
import { type OpenedCard, openDelivery, type TransportKeyPackage } from '../../clients/vendor-open.ts'
import { hex } from '../../core/bytes.ts'
import { writeSecret } from './caller.ts'
import { CliError } from './cli-error.ts'

/** A new RSA-3072 key and its certificate in `out`. Never over an existing key. */
export async function writeEncryptionCertificate({ name, out }: { readonly name: string; readonly out: string }): Promise<void> {
  const { privateKey, certificate } = await makeEncryptionCertificate(name)
  mkdirSync(out, { recursive: true, mode: 0o700 })
  writeSecret(join(out, `${name}.encryption.key.pem`), privateKey)
  writeSecret(join(out, `${name}.encryption.pem`), certificate)
  const fingerprint = new X509Certificate(certificate).fingerprint256.replaceAll(':', '').toLowerCase()
  console.log(`Give ${join(out, `${name}.encryption.pem`)} to an officer. Tell two officers its fingerprint, by telephone or in person:\n${fingerprint}`)
}

/** Prints the report; the exit code is 1 when anything is wrong, and then nothing may be made of the file that `out` names. */
export async function openDeliveryFile(options: {
  readonly delivery: string
  readonly transportKey: string
  readonly key: string
  readonly trust: string
  readonly out?: string
}): Promise<void> {
  const keys = options.out === undefined ? undefined : createWriteStream(options.out, { mode: 0o600, flags: 'wx' })
  if (keys !== undefined) {
    await once(keys, 'open').catch(() => {
      throw new CliError(`${String(options.out)} cannot be made, or is there already.`)
    })
  }
  const report = await openDelivery({
    file: createReadStream(options.delivery),
    transportKey: readPackage(options.transportKey),
    privateKey: readFileSync(options.key, 'utf8'),
    trustedRoot: readFileSync(options.trust),
    onCard: async (card) => {
      if (keys !== undefined && !keys.write(`${JSON.stringify(inClear(card))}\n`)) await once(keys, 'drain')
    },
  })
  if (keys !== undefined) {
    keys.end()
    await once(keys, 'finish')
  }
  console.log(
    `${report.ok ? 'RIGHT' : 'NOT RIGHT'}: ${String(report.cards)} cards, ${String(report.keys)} keys${report.manifest === undefined ? '' : `, order ${report.manifest.order}`}`,
  )
  for (const { line, iccid, message } of report.problems) console.log(`  line ${String(line)}${iccid === undefined ? '' : ` (${iccid})`}: ${message}`)
  if (report.problemCount > report.problems.length) console.log(`  and ${String(report.problemCount - report.problems.length)} more`)
  if (!report.ok) process.exitCode = 1
}

function readPackage(file: string): TransportKeyPackage {
  try {
    return JSON.parse(readFileSync(file, 'utf8')) as TransportKeyPackage
  } catch {
    throw new CliError(`${file} is not a transport key as GET /v1/card-personalization/transport-keys/ID answers it.`)
  }
}

const inClear = ({ iccid, imsi, keys }: OpenedCard): object => ({
  iccid,
  imsi,
  keys: keys.map(({ purpose, keyVersion, value }) => ({ purpose, keyVersion, value: hex(value) })),
})
