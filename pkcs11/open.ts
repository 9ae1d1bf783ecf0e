import { Problem } from '../core/problem.ts'
import type { CeremonyToken } from './ceremony/officer.ts'
import { ceremonyRunner } from './ceremony/run-ceremony.ts'
import type { PersonSecrets } from '../policies/people/index.ts'
import { type ChildEnvironment, entryUrl } from './child.ts'
import { chooseToken, type TokenOptions } from './chosen-token.ts'
import { DETAILS } from './errors.ts'
import { LaneHsm } from './hsm.ts'
import type { Ciphers, Hsm, RootKeyCeremonies, TokenKeys } from './contract.ts'
import { type Integrity, LaneIntegrity } from './integrity.ts'
import { type LaneCounts, Lanes, type TokenState } from './lanes.ts'
import { LanePersonSecrets } from './person-secrets.ts'
import { promptedHolder } from './pin.ts'
import type { TokenIdentity } from './root-keys.ts'
import { RootKeysInUse } from './root-keys-in-use.ts'
import type { TokenPlace } from './slots.ts'

export interface OpenOptions extends TokenOptions {
  /** Lane processes: about one a core. */
  readonly lanes: number
  /** How long a lane may give no sign of life before it is replaced, and a call wait before it is refused. Default 5,000. */
  readonly deadlineMs?: number
  /** Session objects after which a lane's process is exchanged for a fresh one. Default 500,000. */
  readonly mostMade?: number
  /** Told of every change of {@link HsmStats.token}. */
  readonly onTokenState?: (state: TokenState) => void
  /** Keys of the database that stay unwrapped in a lane. Default 4,096. */
  readonly cachedKeys?: number
}

export interface HsmStats {
  readonly token: TokenState
  readonly lanes: LaneCounts & { readonly count: number }
  /** What the system did with its own keys, by key. */
  readonly integrity: { readonly rows: number; readonly groups: number; readonly checkpoints: number; readonly blindIndexes: number }
  /** What logins asked of the token. */
  readonly personSecrets: { readonly peppers: number; readonly secretsMade: number; readonly codes: number }
}

export interface OpenHsm {
  readonly hsm: Hsm & Ciphers & TokenKeys & RootKeyCeremonies
  readonly integrity: Integrity
  /** What people log in with. */
  readonly personSecrets: PersonSecrets
  /** Which generations of the root keys are in use: told once the database was asked, and whenever it has newer ones. */
  readonly rootKeys: RootKeysInUse
  /** To be compared with what the database remembers: `assertSameToken`. */
  readonly identity: TokenIdentity
  stats(): HsmStats
  close(): Promise<void>
}

/**
 * Opens the token and starts the lanes; makes token and root keys at the first start. Throws a Problem when the token is not there, is not the one it was,
 * or fails its self-test: the service does not start then.
 */
export const openHsm = async (options: OpenOptions): Promise<OpenHsm> => (await openLanes(options, entryUrl('lane-process'))).open

/** As {@link openHsm}, with the lanes at hand and their program to choose: for tests. */
export async function openLanes(
  options: OpenOptions,
  entry: URL,
): Promise<{ readonly open: OpenHsm; readonly lanes: Lanes; readonly environment: ChildEnvironment; readonly token: CeremonyToken }> {
  const { token, environment } = await starting(() => chooseToken(options))
  const settings = { ...place(token), pinSource: token.pinSource, cachedKeys: options.cachedKeys ?? 4096 }
  const { deadlineMs, mostMade, onTokenState } = options
  const lanes = new Lanes(
    options.lanes,
    { entry, environment, settings, ...(deadlineMs === undefined ? {} : { deadlineMs }), ...(mostMade === undefined ? {} : { mostMade }) },
    onTokenState,
  )
  // Before lanes are started and watched: people type slowly.
  if (promptedHolder(token.pinSource) !== undefined) await environment.pins?.prepare('user')
  environment.pins?.forget('officer')
  const identity = await starting(() =>
    lanes.start(async (first) => {
      await first.call('selfTest', { ignore: options.insecureTokenIgnores ?? [] })
      return first.call('identify', undefined)
    }),
  )
  const rootKeys = new RootKeysInUse(lanes, identity)
  const integrity = new LaneIntegrity(lanes, rootKeys, identity)
  const personSecrets = new LanePersonSecrets(lanes, rootKeys)
  const hsm = new LaneHsm(lanes, rootKeys, ceremonyRunner(environment, withoutTypedOfficer(token)), identity)
  const close = async (): Promise<void> => {
    await lanes.close()
    environment.pins?.close()
  }
  const stats = (): HsmStats => ({
    token: lanes.state,
    lanes: { count: options.lanes, ...lanes.counts },
    integrity: { ...integrity.calls },
    personSecrets: { ...personSecrets.calls },
  })
  return { open: { hsm, integrity, personSecrets, rootKeys, identity, stats, close }, lanes, environment, token }
}

/** Nobody sits at the terminal of a service that runs: an officer's PIN that is typed serves its start alone. */
function withoutTypedOfficer({ officerPinFile, ...token }: CeremonyToken): CeremonyToken {
  return officerPinFile === undefined || promptedHolder(officerPinFile) !== undefined ? token : { ...token, officerPinFile }
}

/** At the start it is the operator who reads the problem: it says why. A reason names numbers and functions, never a value. */
async function starting<Result>(work: () => Promise<Result>): Promise<Result> {
  try {
    return await work()
  } catch (error) {
    if (!(error instanceof Problem) || !(error.cause instanceof Error) || !Object.values(DETAILS).includes(error.detail)) throw error
    throw new Problem(error.code, `The token cannot be used, so the service does not start: ${error.cause.message}.`, { cause: error.cause })
  }
}

const place = ({ modulePath, libraryParameters, token, serial }: CeremonyToken): TokenPlace => ({
  modulePath,
  ...(libraryParameters === undefined ? {} : { libraryParameters }),
  ...(token === undefined ? {} : { token }),
  ...(serial === undefined ? {} : { serial }),
})
