import { type ChildEnvironment, entryUrl, forkEntry } from './child.ts'
import { unavailable } from './errors.ts'
import type { TokenSettings } from './lane-message.ts'
import { findSoftHsm, TokenFolder } from './token-folder.ts'

/** What the bare loop's process is told. */
export interface BareLoop {
  readonly token: TokenSettings
  readonly loop: 'fill' | 'sign'
  readonly seconds: number
}

/**
 * The limit that benchmarks compare with: every C_ call that a card (`fill`) or a P-256 signature (`sign`) needs, in a loop, in one thread of a process of
 * its own, on the token of a data folder, with nothing around it: no messages, no rows, no log. Makes no token object.
 * Answers cards or signatures a second.
 */
export function bareLoop({
  dataFolder,
  loop,
  seconds,
}: {
  readonly dataFolder: string
  readonly loop: BareLoop['loop']
  readonly seconds: number
}): Promise<number> {
  const folder = new TokenFolder(dataFolder)
  const state = folder.readState()
  if (state?.state !== 'ready') throw new Error('the data folder has no token yet')
  const environment: ChildEnvironment = { set: { SOFTHSM2_CONF: folder.configuration }, pass: [] }
  const task: BareLoop = { token: { modulePath: findSoftHsm(), serial: state.serial, pinFile: folder.pinFile }, loop, seconds }
  const child = forkEntry(entryUrl('bare-loop-process'), environment)
  return new Promise((resolve, reject) => {
    child.once('message', (rate: number) => resolve(rate))
    child.once('exit', () => reject(unavailable('the bare loop ended without a result')))
    child.send(task)
  })
}
