import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { z } from 'zod'
import { writeDurably } from '../core/durable-file.ts'
import { Problem } from '../core/problem.ts'

const SOFTHSM_PATHS = [
  '/usr/lib/softhsm/libsofthsm2.so', // Debian, Ubuntu, Alpine
  '/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so',
  '/usr/lib/aarch64-linux-gnu/softhsm/libsofthsm2.so',
  '/usr/lib64/pkcs11/libsofthsm2.so', // Fedora, RHEL
  '/usr/lib64/softhsm/libsofthsm2.so', // openSUSE
  '/usr/lib/pkcs11/libsofthsm2.so', // Arch
  '/usr/local/lib/softhsm/libsofthsm2.so', // from source
  '/opt/homebrew/lib/softhsm/libsofthsm2.so', // macOS
]

/** The module of SoftHSM2. Throws `hsm-unavailable` that says what to install. */
export function findSoftHsm(): string {
  const found = SOFTHSM_PATHS.find((path) => existsSync(path))
  if (found === undefined)
    throw new Problem('hsm-unavailable', 'SoftHSM2 is not installed (Debian: apt install softhsm2; Fedora: dnf install softhsm; macOS: brew install softhsm).')
  return found
}

/**
 * `initialising`: the token is being made, nothing of it was ever told to anyone, and it may be thrown away. `backedUp`: its keys are made with a backup.
 * `ready`: its root keys were made, synced and checked; from here on they may be recorded, and this token is the only right one.
 */
const STATE = z.discriminatedUnion('state', [
  z.strictObject({ state: z.literal('initialising'), backedUp: z.literal(true).optional() }),
  z.strictObject({ state: z.literal('ready'), serial: z.string().min(1) }),
])
export type TokenState = z.infer<typeof STATE>

/** The default token: SoftHSM2 in the data folder. PINs and state stand beside the token's folder, so that a backup can leave the PINs out. */
export class TokenFolder {
  readonly tokensFolder: string
  readonly configuration: string
  readonly pinFile: string
  readonly officerPinFile: string
  readonly #folder: string
  readonly #pins: string
  readonly #stateFile: string

  constructor(dataFolder: string) {
    const data = resolve(dataFolder)
    this.#folder = join(data, 'token')
    this.tokensFolder = join(this.#folder, 'tokens')
    this.configuration = join(this.#folder, 'softhsm2.conf')
    this.#pins = join(data, 'pins')
    this.pinFile = join(this.#pins, 'user.pin')
    this.officerPinFile = join(this.#pins, 'officer.pin')
    this.#stateFile = join(data, 'token.json')
    if (/[\n\r]/.test(data)) throw new TypeError('the path of the data folder has a line break')
  }

  /** `undefined`: there never was a token here. Throws a Problem on a state file that it cannot read. */
  readState(): TokenState | undefined {
    if (!existsSync(this.#stateFile)) return undefined
    try {
      return STATE.parse(JSON.parse(readFileSync(this.#stateFile, 'utf8')))
    } catch (error) {
      throw new Problem('hsm-unavailable', 'token.json in the data folder is damaged. Restore it from a backup; without it the token is not used.', {
        cause: error,
      })
    }
  }

  /** Whether there are token files. */
  get hasTokens(): boolean {
    return existsSync(this.tokensFolder) && readdirSync(this.tokensFolder).length > 0
  }

  /** An empty folder for a new token; what an unfinished initialisation left is removed. INVARIANT: only while no state says `ready`. */
  startOver({ backedUp = false }: { readonly backedUp?: boolean } = {}): void {
    this.writeState({ state: 'initialising', ...(backedUp ? { backedUp } : {}) })
    rmSync(this.#folder, { recursive: true, force: true })
    rmSync(this.#pins, { recursive: true, force: true })
    mkdirSync(this.tokensFolder, { recursive: true, mode: 0o700 })
    this.writeConfiguration()
  }

  /** SoftHSM's configuration; written at each start, because the data folder may have moved. The token's folder itself is never made here. */
  writeConfiguration(): void {
    const text = `# written by the service at each start\ndirectories.tokendir = ${this.tokensFolder}\nobjectstore.backend = file\nlog.level = ERROR\nslots.removable = false\n`
    if (existsSync(this.configuration) && readFileSync(this.configuration, 'utf8') === text) return
    writeDurably(this.configuration, text)
  }

  writeState(state: TokenState): void {
    writeDurably(this.#stateFile, `${JSON.stringify(state)}\n`)
  }
}
