import { type ChildProcess, fork } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { entryArguments, entryUrl as entryBeside } from '../core/entry-file.ts'
import type { PinKeeper } from './pin-keeper.ts'

/** The file of an entry of this folder. */
export const entryUrl = (name: string): URL => entryBeside(name, import.meta.url)

/** What a child process of pkcs11/ sees of the environment: what the loader and the PKCS#11 module need, and no setting or password of the service. */
export interface ChildEnvironment {
  /** Variables with their values, such as SOFTHSM2_CONF. */
  readonly set: Readonly<Record<string, string>>
  /** Names that are handed on from the service's own environment, for the modules of other makers. */
  readonly pass: readonly string[]
  /** Where PINs are typed: children are given them through their channel, and the environment has none. */
  readonly pins?: PinKeeper
}

/** A variable for children of pkcs11/ alone: it is taken out of this process's own environment, and no other child inherits it. `undefined`: it is not set. */
export function takeVariable(name: string): Readonly<Record<string, string>> | undefined {
  const value = process.env[name]
  if (value === undefined) return undefined
  delete process.env[name]
  return { [name]: value }
}

const ALWAYS = ['PATH', 'TMPDIR', 'LD_LIBRARY_PATH']

/**
 * How many freed pieces of a size glibc keeps at hand for a thread, in place of 7. A call to SoftHSM takes and frees hundreds of small ones, its own and
 * OpenSSL's, so that with 7 nearly each goes through the heap: every call takes 10 to 18 percent longer. Other C libraries do not know the variable. An
 * operator who passes on a GLIBC_TUNABLES has that one.
 */
const ALLOCATOR = { GLIBC_TUNABLES: 'glibc.malloc.tcache_count=1000' }

/** Starts a child that speaks structured messages. `terminal`: it reads the standard input of this process. */
export function forkEntry(entry: URL, environment: ChildEnvironment, { terminal = false }: { readonly terminal?: boolean } = {}): ChildProcess {
  const env: Record<string, string> = { ...ALLOCATOR }
  for (const name of [...ALWAYS, ...environment.pass]) {
    const value = process.env[name]
    if (value !== undefined) env[name] = value
  }
  return fork(fileURLToPath(entry), [], {
    env: { ...env, ...environment.set },
    execArgv: [...entryArguments()],
    serialization: 'advanced',
    stdio: [terminal ? 'inherit' : 'ignore', 'ignore', 'inherit', 'ipc'],
  })
}
