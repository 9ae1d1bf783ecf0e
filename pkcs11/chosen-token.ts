import { mkdirSync } from 'node:fs'
import { Problem } from '../core/problem.ts'
import { backupOf } from './backup-file.ts'
import type { CeremonyToken } from './ceremony/officer.ts'
import { forkCeremony } from './ceremony/run-ceremony.ts'
import type { ChildEnvironment } from './child.ts'
import { type ModuleOptions, tokenOfUri } from './named-token.ts'
import { PendingBackup } from './pending-backup.ts'
import { promptSource } from './pin.ts'
import { PinKeeper } from './pin-keeper.ts'
import { PROMPT } from './pkcs11-uri.ts'
import type { ProbeName } from './probe-names.ts'
import { isFromBefore, lackingKeys } from './root-keys.ts'
import { findSoftHsm, TokenFolder } from './token-folder.ts'

/** Which token, and what its ceremonies need. */
export interface TokenOptions extends ModuleOptions {
  readonly dataFolder: string
  /** PKCS#11 URI (RFC 7512) with `pin-source`: a file, a variable, which is taken out of the environment, or `prompt`. Absent: SoftHSM2 in the data folder, initialised at the first start. */
  readonly uri?: string
  /** For ceremonies on a token chosen by `uri`: a file with the security officer's PIN, or `prompt`: it is typed. Absent: its root keys must be there, and transport keys cannot be made. */
  readonly officerPinFile?: string
  /** What this token does not enforce and is used all the same: only for tests with weak tokens. Default none. */
  readonly insecureTokenIgnores?: readonly ProbeName[]
}

export interface Chosen {
  readonly token: CeremonyToken
  readonly environment: ChildEnvironment
}

/** For the making of root keys. */
export interface Making {
  /** SPKI DER of the RSA-3072 key of the token that is to restore this one. Absent: its keys are not backed up. */
  readonly recipient?: Uint8Array
}

/**
 * The token, with root keys: they are made when there are none. Throws `conflict` when a recipient is named and they are there already: a key that was made
 * without a backup never leaves.
 */
export const chooseToken = (options: TokenOptions, making: Making = {}): Promise<Chosen> =>
  options.uri === undefined ? defaultToken(options, making) : namedToken(namedChosen(options, options.uri), options, making)

/** The token as it is; nothing is made. */
export function existingToken(options: TokenOptions): Chosen {
  if (options.uri !== undefined) return namedChosen(options, options.uri)
  const folder = new TokenFolder(options.dataFolder)
  const state = folder.readState()
  if (state?.state !== 'ready')
    throw new Problem('hsm-unavailable', 'The data folder has no token yet. Start the service once (gridseal serve), or: gridseal token init')
  return inFolder(options, folder, state.serial)
}

const UNFINISHED =
  'A ceremony that makes or restores the keys of this token did not come to its end, so it is not used. Run the same command again: gridseal token init --backup-recipient, or gridseal token restore.'

const haveKeys = (): Problem =>
  new Problem(
    'conflict',
    'The token has its root keys already, and they were made without this recipient: they never leave it any more. A recipient is named when a token gets its keys.',
  )

/**
 * SoftHSM2 in the data folder. Order at the first start: state `initialising`, PINs, token, root keys, each synced, with a recipient their backup, then state
 * `ready` with the serial. What a crash leaves before `ready` was told to nobody and is started over; after it the token is used, or missed.
 */
async function defaultToken(options: TokenOptions, { recipient }: Making): Promise<Chosen> {
  const modulePath = findSoftHsm()
  mkdirSync(options.dataFolder, { recursive: true })
  const folder = new TokenFolder(options.dataFolder)
  const { pinFile, officerPinFile, tokensFolder } = folder
  const state = folder.readState()
  if (state?.state === 'ready') {
    if (recipient !== undefined) throw haveKeys()
    return inFolder(options, folder, state.serial)
  }
  if (state === undefined && folder.hasTokens) {
    throw new Problem(
      'hsm-unavailable',
      'The data folder has a token and no token.json that says where it comes from. Restore token.json, or move the folder "token" away to start with a new token.',
    )
  }
  // Started over without the recipient, the keys would have no backup, and nobody had said so.
  if (state?.backedUp === true && recipient === undefined) throw new Problem('hsm-unavailable', UNFINISHED)
  folder.startOver({ backedUp: recipient !== undefined })
  new PendingBackup(options.dataFolder).remove()
  const environment = softHsmEnvironment(options, folder)
  const { serial } = await forkCeremony(environment, 'initialiseToken', { modulePath, label: 'gridseal', tokensFolder, pinFile, officerPinFile })
  const chosen = { token: { modulePath, pinSource: pinFile, officerPinFile, tokensFolder, serial }, environment }
  await makeKeys(chosen, options, recipient)
  folder.writeState({ state: 'ready', serial })
  return chosen
}

function inFolder(options: TokenOptions, folder: TokenFolder, serial: string): Chosen {
  if (!folder.hasTokens)
    throw new Problem(
      'hsm-unavailable',
      `The token ${serial} is not in the data folder any more. Put its folder "token" back; a new token could not open what this one sealed.`,
    )
  folder.writeConfiguration()
  const { pinFile, officerPinFile, tokensFolder } = folder
  return { token: { modulePath: findSoftHsm(), pinSource: pinFile, officerPinFile, tokensFolder, serial }, environment: softHsmEnvironment(options, folder) }
}

const softHsmEnvironment = ({ passEnvironment = [] }: TokenOptions, { configuration }: TokenFolder): ChildEnvironment => ({
  set: { SOFTHSM2_CONF: configuration },
  pass: passEnvironment,
})

function namedChosen(options: TokenOptions, uri: string): Chosen {
  const { token, environment } = tokenOfUri(uri, options)
  if (options.officerPinFile === undefined) return { token, environment }
  if (options.officerPinFile !== PROMPT) return { token: { ...token, officerPinFile: options.officerPinFile }, environment }
  return { token: { ...token, officerPinFile: promptSource('officer') }, environment: { ...environment, pins: environment.pins ?? new PinKeeper() } }
}

/** A token that others look after. Its root keys are made when it has none of them and the officer's PIN is at hand. */
async function namedToken(chosen: Chosen, options: TokenOptions, { recipient }: Making): Promise<Chosen> {
  const { token, environment } = chosen
  const { missing, none, unfinished } = await forkCeremony(environment, 'listRootKeys', token, options.insecureTokenIgnores ?? [])
  if (unfinished && recipient === undefined) throw new Problem('hsm-unavailable', UNFINISHED)
  if (missing.length === 0 && !unfinished) {
    if (recipient !== undefined) throw haveKeys()
    return chosen
  }
  if (!unfinished && isFromBefore(missing))
    throw new Problem('hsm-unavailable', `The token cannot be used, so the service does not start: ${lackingKeys(missing)}.`)
  if (!none && !unfinished)
    throw new Problem(
      'hsm-unavailable',
      `The token lacks some of the root keys: ${missing.join(', ')}. It is not used; restore it, or choose a token without any.`,
    )
  if (token.officerPinFile === undefined)
    throw new Problem('hsm-unavailable', 'The token has no root keys yet. Give the file with the security officer’s PIN once, to make them.')
  await makeKeys(chosen, options, recipient)
  return chosen
}

/** With a recipient: keys, then their backup on disk, then the end of the ceremony. See {@link PendingBackup}. */
async function makeKeys({ token, environment }: Chosen, { dataFolder }: TokenOptions, recipient: Uint8Array | undefined): Promise<void> {
  if (recipient === undefined) return void (await forkCeremony(environment, 'makeRootKeys', token))
  const { backups } = await forkCeremony(environment, 'makeRootKeys', token, { recipient })
  new PendingBackup(dataFolder).write(backupOf(backups), new Date().toISOString())
  await forkCeremony(environment, 'finishRootKeys', token)
}
