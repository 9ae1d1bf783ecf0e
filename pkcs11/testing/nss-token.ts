import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

const PATHS = [
  '/usr/lib/x86_64-linux-gnu/libsoftokn3.so', // Debian 12
  '/usr/lib/x86_64-linux-gnu/nss/libsoftokn3.so', // Debian 11, Ubuntu
  '/usr/lib/aarch64-linux-gnu/libsoftokn3.so',
  '/usr/lib/aarch64-linux-gnu/nss/libsoftokn3.so',
  '/usr/lib64/libsoftokn3.so', // Fedora, RHEL
]
const modulePath = PATHS.find((path) => existsSync(path))

/** A token of NSS softokn: another make, which enforces less. */
export interface NssToken {
  /** PKCS#11 URI, with the PIN's file. */
  readonly uri: string
  /** What C_Initialize takes. */
  readonly parameters: string
  readonly pinFile: string
  /** What `certutil` says of the keys in it. */
  listKeys(): string
  /** Removes its folder. */
  close(): void
}

/** A new one in a temporary folder. */
export function nssToken(): NssToken {
  if (modulePath === undefined) throw new Error('NSS softokn is not installed (Debian: apt install libnss3 libnss3-tools)')
  const folder = mkdtempSync(join(tmpdir(), 'gridseal-nss-'))
  const [database, pinFile] = [join(folder, 'database'), join(folder, 'pin')]
  mkdirSync(database)
  writeFileSync(pinFile, 'not-a-secret-1\n')
  const certutil = (...args: string[]): string => {
    const { stdout, stderr } = spawnSync('certutil', [...args, '-d', `sql:${database}`, '-f', pinFile], { encoding: 'utf8' })
    return stdout + stderr
  }
  certutil('-N')
  return {
    uri: `pkcs11:token=NSS%20Certificate%20DB?module-path=${modulePath}&pin-source=file:${pinFile}`,
    parameters: `configdir='sql:${database}' certPrefix='' keyPrefix='' secmod='secmod.db' flags=`,
    pinFile,
    listKeys: () => certutil('-K'),
    close: () => rmSync(folder, { recursive: true, force: true }),
  }
}
