import { mkdirSync } from 'node:fs'
import { Problem } from '../core/problem.ts'
import type { CeremonyToken } from './ceremony/officer.ts'
import { ceremonyRunner, forkCeremony } from './ceremony/run-ceremony.ts'
import { type ChildEnvironment, entryUrl } from './child.ts'
import { DETAILS } from './errors.ts'
import { LaneHsm } from './hsm.ts'
import type { Ciphers, Hsm } from './contract.ts'
import { type Integrity, LaneIntegrity } from './integrity.ts'
import { type LaneCounts, Lanes, type TokenState } from './lanes.ts'
import { parsePkcs11Uri } from './pkcs11-uri.ts'
import type { ProbeName } from './probe-names.ts'
import type { TokenIdentity } from './root-keys.ts'
import { findSoftHsm, TokenFolder } from './token-folder.ts'

export interface OpenOptions {
  readonly dataFolder: string
  /** PKCS#11 URI (RFC 7512) with `pin-source`. Absent: SoftHSM2 in the data folder, initialised at the first start. */
  readonly uri?: string
  /** For ceremonies on a token chosen by `uri`: a file with the security officer's PIN. Absent: its root keys must be there, and transport keys cannot be made. */
  readonly officerPinFile?: string
  /** Lane processes: about one a core. */
  readonly lanes: number
  /** How long a lane may give no sign of life before it is replaced, and a call wait before it is refused. Default 5,000. */
  readonly deadlineMs?: number
  /** Told of every change of {@link HsmStats.token}. */
  readonly onTokenState?: (state: TokenState) => void
  /** Keys of the database that stay unwrapped in a lane. Default 4,096. */
  readonly cachedKeys?: number
  /** Names of environment variables that a PKCS#11 module of another maker needs. Default none. */
  readonly passEnvironment?: readonly string[]
  /** What this token does not enforce and is used all the same: only for tests with weak tokens. Default none. */
  readonly insecureTokenIgnores?: readonly ProbeName[]
}

export interface HsmStats {
  readonly token: TokenState
  readonly lanes: LaneCounts & { readonly count: number }
  /** What the system did with its own keys, by key. */
  readonly integrity: { readonly rows: number; readonly groups: number; readonly checkpoints: number; readonly blindIndexes: number }
}

export interface OpenHsm {
  readonly hsm: Hsm & Ciphers
  readonly integrity: Integrity
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
  const { token, environment } = await starting(() => (options.uri === undefined ? defaultToken(options) : namedToken(options, options.uri)))
  const settings = { ...place(token), pinFile: token.pinFile, cachedKeys: options.cachedKeys ?? 4096 }
  const { deadlineMs, onTokenState } = options
  const lanes = new Lanes(options.lanes, { entry, environment, settings, ...(deadlineMs === undefined ? {} : { deadlineMs }) }, onTokenState)
  const identity = await starting(() =>
    lanes.start(async (first) => {
      await first.call('selfTest', { ignore: options.insecureTokenIgnores ?? [] })
      return first.call('identify', undefined)
    }),
  )
  const integrity = new LaneIntegrity(lanes, identity)
  const hsm = new LaneHsm(lanes, ceremonyRunner(environment, token), identity)
  const stats = (): HsmStats => ({ token: lanes.state, lanes: { count: options.lanes, ...lanes.counts }, integrity: { ...integrity.calls } })
  return { open: { hsm, integrity, identity, stats, close: () => lanes.close() }, lanes, environment, token }
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

const place = ({ modulePath, token, serial }: CeremonyToken): Pick<CeremonyToken, 'modulePath' | 'token' | 'serial'> => ({
  modulePath,
  ...(token === undefined ? {} : { token }),
  ...(serial === undefined ? {} : { serial }),
})

interface Chosen {
  readonly token: CeremonyToken
  readonly environment: ChildEnvironment
}

/**
 * SoftHSM2 in the data folder. Order at the first start: state `initialising`, PINs, token, root keys, each synced, then state `ready` with the serial.
 * What a crash leaves before `ready` was told to nobody and is started over; after it the token is used, or missed.
 */
async function defaultToken(options: OpenOptions): Promise<Chosen> {
  const modulePath = findSoftHsm()
  mkdirSync(options.dataFolder, { recursive: true })
  const folder = new TokenFolder(options.dataFolder)
  const { pinFile, officerPinFile, tokensFolder } = folder
  const environment = { set: { SOFTHSM2_CONF: folder.configuration }, pass: options.passEnvironment ?? [] }
  const known = { modulePath, pinFile, officerPinFile, tokensFolder }
  const state = folder.readState()
  if (state?.state === 'ready') {
    if (!folder.hasTokens)
      throw new Problem(
        'hsm-unavailable',
        `The token ${state.serial} is not in the data folder any more. Put its folder "token" back; a new token could not open what this one sealed.`,
      )
    folder.writeConfiguration()
    return { token: { ...known, serial: state.serial }, environment }
  }
  if (state === undefined && folder.hasTokens) {
    throw new Problem(
      'hsm-unavailable',
      'The data folder has a token and no token.json that says where it comes from. Restore token.json, or move the folder "token" away to start with a new token.',
    )
  }
  folder.startOver()
  const { serial } = await forkCeremony(environment, 'initialiseToken', { modulePath, label: 'gridseal', tokensFolder, pinFile, officerPinFile })
  const token = { ...known, serial }
  await forkCeremony(environment, 'makeRootKeys', token)
  folder.writeState({ state: 'ready', serial })
  return { token, environment }
}

/** A token that others look after. Its root keys are made when it has none of them and the officer's PIN is at hand. */
async function namedToken(options: OpenOptions, uri: string): Promise<Chosen> {
  const { modulePath, token: label, serial, pinFile } = parsePkcs11Uri(uri)
  if (pinFile === undefined) throw new TypeError('the PKCS#11 URI needs pin-source=file:/path')
  const environment: ChildEnvironment = { set: {}, pass: ['SOFTHSM2_CONF', ...(options.passEnvironment ?? [])] }
  const token: CeremonyToken = {
    modulePath,
    pinFile,
    ...(label === undefined ? {} : { token: label }),
    ...(serial === undefined ? {} : { serial }),
    ...(options.officerPinFile === undefined ? {} : { officerPinFile: options.officerPinFile }),
  }
  const { missing, none } = await forkCeremony(environment, 'listRootKeys', token)
  if (missing.length === 0) return { token, environment }
  if (!none)
    throw new Problem(
      'hsm-unavailable',
      `The token lacks some of the root keys: ${missing.join(', ')}. It is not used; restore it, or choose a token without any.`,
    )
  if (token.officerPinFile === undefined)
    throw new Problem('hsm-unavailable', 'The token has no root keys yet. Give the file with the security officer’s PIN once, to make them.')
  await forkCeremony(environment, 'makeRootKeys', token)
  return { token, environment }
}
