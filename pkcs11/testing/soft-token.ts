import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { CeremonyToken } from '../ceremony/officer.ts'
import { forkCeremony } from '../ceremony/run-ceremony.ts'
import type { ChildEnvironment } from '../child.ts'
import { findSoftHsm } from '../token-folder.ts'

/** An initialised SoftHSM2 token in a folder of its own, without keys. */
export interface SoftToken {
  readonly environment: ChildEnvironment
  readonly settings: CeremonyToken & { readonly officerPinFile: string; readonly tokensFolder: string }
  readonly serial: string
  /** PKCS#11 URI, with the file of the user's PIN. */
  readonly uri: string
  /** What a program needs in its environment to use it. */
  readonly env: Readonly<Record<'SOFTHSM2_CONF' | 'GRIDSEAL_TOKEN' | 'GRIDSEAL_OFFICER_PIN_FILE', string>>
}

export async function softToken(folder: string, label: string): Promise<SoftToken> {
  const place = join(folder, label)
  const [modulePath, configuration, tokensFolder] = [findSoftHsm(), join(place, 'softhsm2.conf'), join(place, 'tokens')]
  const [pinFile, officerPinFile] = [join(place, 'pins', 'user.pin'), join(place, 'pins', 'officer.pin')]
  mkdirSync(tokensFolder, { recursive: true })
  writeFileSync(configuration, `directories.tokendir = ${tokensFolder}\nobjectstore.backend = file\nlog.level = ERROR\n`)
  const environment = { set: { SOFTHSM2_CONF: configuration }, pass: [] }
  const { serial } = await forkCeremony(environment, 'initialiseToken', { modulePath, label, tokensFolder, pinFile, officerPinFile })
  const uri = `pkcs11:token=${label};serial=${serial}?module-path=${modulePath}&pin-source=file:${pinFile}`
  return {
    environment,
    settings: { modulePath, serial, pinSource: pinFile, officerPinFile, tokensFolder },
    serial,
    uri,
    env: { SOFTHSM2_CONF: configuration, GRIDSEAL_TOKEN: uri, GRIDSEAL_OFFICER_PIN_FILE: officerPinFile },
  }
}
