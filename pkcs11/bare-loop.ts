import type { KeyId } from '../core/ids.ts'
import { type ChildEnvironment, entryUrl, forkEntry } from './child.ts'
import { unavailable } from './errors.ts'
import type { TokenSettings } from './lane-message.ts'
import { findSoftHsm, TokenFolder } from './token-folder.ts'

/** What a loop does over and over. `fill`: a card; `derive-wrap`: one card key, under a transport key; the others are the verbs of lanes. */
export type BareLoopName = 'fill' | 'sign' | 'cmac' | 'gcm' | 'derive-wrap' | 'unwrap-sign'

/** Token objects that a loop uses where a lane uses them: each look at one costs system calls. */
export interface BareLoopKeys {
  readonly master: KeyId
  readonly transportKey: KeyId
}

/** What the bare loop's process is told. */
export interface BareLoop {
  readonly token: TokenSettings
  readonly loop: BareLoopName
  readonly seconds: number
  readonly keys?: BareLoopKeys
}

/** What loops and lanes are both measured with, in bytes. */
export const BARE_MESSAGE_BYTES = 64
export const BARE_PLAINTEXT_BYTES = 256
export const BARE_AAD_BYTES = 16
/** Items of a verb's call: so often a loop does what a verb does once. */
export const BARE_BATCH = 256
/** Keys that stay unwrapped in `unwrap-sign`. */
export const BARE_CACHED_KEYS = 1000

/**
 * The limit that benchmarks compare with: every C_ call of one unit of work in a loop, in one thread of a process of its own, on the token of a data folder,
 * with nothing around it: no messages, no rows, no log. Makes no token object. Answers units a second.
 */
export function bareLoop({ dataFolder, ...task }: { readonly dataFolder: string } & Pick<BareLoop, 'loop' | 'seconds' | 'keys'>): Promise<number> {
  const folder = new TokenFolder(dataFolder)
  const state = folder.readState()
  if (state?.state !== 'ready') throw new Error('the data folder has no token yet')
  const environment: ChildEnvironment = { set: { SOFTHSM2_CONF: folder.configuration }, pass: [] }
  const told: BareLoop = { ...task, token: { modulePath: findSoftHsm(), serial: state.serial, pinSource: folder.pinFile } }
  const child = forkEntry(entryUrl('bare-loop-process'), environment)
  return new Promise((resolve, reject) => {
    child.once('message', (rate: number) => resolve(rate))
    child.once('exit', () => reject(unavailable('the bare loop ended without a result')))
    child.send(told)
  })
}
