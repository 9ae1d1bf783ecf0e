import { existsSync } from 'node:fs'
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { type FolderLock, lockFolder } from '../../clients/witness/folder-lock.ts'
import { addLog, initWitness, WitnessFolder, WitnessFolderError } from '../../clients/witness/witness-folder.ts'
import { witnessServer } from '../../clients/witness/witness-server.ts'
import { NoteError } from '../../policies/audit/index.ts'
import { CliError } from './cli-error.ts'

/** What a person did wrong, in words. */
function told<Result>(work: () => Result): Result {
  try {
    return work()
  } catch (error) {
    if (error instanceof WitnessFolderError || error instanceof NoteError) throw new CliError(error.message)
    throw error
  }
}

/** Prints the verifier key. */
export function makeWitness({ folder, name }: { readonly folder: string; readonly name: string }): void {
  console.log(told(() => initWitness(folder, name)))
}

export function watchLog({ folder, vkey }: { readonly folder: string; readonly vkey: string }): void {
  const { name } = told(() => addLog(folder, vkey))
  console.log(`watches ${name}`)
}

/** Serves until SIGTERM or SIGINT. Prints `ready` with the address when it answers. */
export async function serveWitness({ folder, listen }: { readonly folder: string; readonly listen: string }): Promise<void> {
  const [, host, port] = /^(?:\[([0-9a-fA-F:]+)\]|[^:]+):([0-9]{1,5})$/.exec(listen) ?? []
  if (port === undefined || Number(port) > 65_535) throw new CliError('--listen has the form host:port or [address]:port')
  const stop = new AbortController()
  for (const signal of ['SIGTERM', 'SIGINT'] as const) process.once(signal, () => stop.abort())
  if (!existsSync(folder)) throw new CliError(`${folder} is no witness: gridseal witness init makes one`)
  // The lock comes first: what another process wrote meanwhile is read after it.
  const lock = await lockSoon(folder)
  if (lock === undefined) throw new CliError(`another process serves ${folder}`)
  try {
    const state = told(() => new WitnessFolder(folder))
    const server = witnessServer({ folder: state, onError: (error) => console.error(`gridseal: ${String(error)}`) })
    server.listen(Number(port), host ?? listen.slice(0, listen.lastIndexOf(':')))
    await Promise.race([once(server, 'listening'), once(server, 'error').then(([error]) => Promise.reject(error as Error))])
    const { address, port: bound, family } = server.address() as AddressInfo
    console.log(
      JSON.stringify({ msg: 'ready', url: `http://${family === 'IPv6' ? `[${address}]` : address}:${bound}`, witness: state.key.vkey, logs: state.origins }),
    )
    const isLost = await Promise.race([(stop.signal.aborted ? Promise.resolve() : once(stop.signal, 'abort')).then(() => false), lock.gone.then(() => true)])
    const closed = once(server, 'close')
    server.close()
    server.closeIdleConnections()
    if (isLost) server.closeAllConnections()
    const timer = setTimeout(() => server.closeAllConnections(), 5000)
    await closed
    clearTimeout(timer)
    if (isLost) throw new CliError(`the lock of ${folder} was lost: the witness has stopped`)
  } finally {
    lock.release()
  }
}

/** The lock of a process that was killed this moment takes some milliseconds to go. */
async function lockSoon(folder: string): Promise<FolderLock | undefined> {
  for (let left = 10; ; left -= 1) {
    const lock = await lockFolder(folder)
    if (lock !== undefined || left === 0) return lock
    await sleep(100)
  }
}
