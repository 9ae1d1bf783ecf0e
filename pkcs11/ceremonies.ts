/** The door for ceremonies of the command line, which are held while the service is stopped: two people, one with the user's PIN, one with the officer's. */
import type { KeyId } from '../core/ids.ts'
import type { Row, SealedRow } from '../core/row.ts'
import type { TokenBackup } from './backup-file.ts'
import type { RootKeysAdded } from './ceremony/add-root-keys.ts'
import { fingerprintOf, type Recipient } from './ceremony/backup-recipient.ts'
import type { TokenShown } from './ceremony/identify-token.ts'
import { forkCeremony } from './ceremony/run-ceremony.ts'
import { type Chosen, chooseToken, existingToken, type Making, type TokenOptions } from './chosen-token.ts'
import { PendingBackup } from './pending-backup.ts'
import type { TokenIdentity } from './root-keys.ts'

export { backupOf, parseBackup, type TokenBackup } from './backup-file.ts'
export type { TokenShown } from './ceremony/identify-token.ts'
export type { TokenOptions } from './chosen-token.ts'
export { generationOf, type GenerationState, type RecordedGeneration } from './generation-record.ts'
export { PendingBackup } from './pending-backup.ts'
export { parseGeneration } from './root-key-generations.ts'
export { identityFault, LATER_ROOT_KEYS, SYSTEM_KEYS, type TokenIdentity } from './root-keys.ts'
export { adoptionRow, checkpointKeyOf, type CheckpointKey, type TokenAdoption } from './token-adoption.ts'
export { fingerprintOf }

/** Token and root keys, before the first start; without a recipient as the first start makes them. */
export async function initialiseKeys(options: TokenOptions, making: Making): Promise<TokenShown> {
  const chosen = await chooseToken(options, making)
  return forkCeremony(chosen.environment, 'showToken', chosen.token)
}

/** Ceremonies on a token that is there. */
export class TokenCeremonies {
  readonly #chosen: Chosen
  readonly #pending: PendingBackup

  /** Throws `hsm-unavailable` when there is none in the data folder, or a TypeError on a URI that it cannot use. */
  constructor(options: TokenOptions) {
    this.#chosen = existingToken(options)
    this.#pending = new PendingBackup(options.dataFolder)
  }

  show(): Promise<TokenShown> {
    return forkCeremony(this.#chosen.environment, 'showToken', this.#chosen.token)
  }

  /** By a generation of the row-MAC key; default the one that there is. */
  macRows(rows: readonly Row[], keyId?: KeyId): Promise<Uint8Array[]> {
    return forkCeremony(this.#chosen.environment, 'macRows', this.#chosen.token, { rows, ...(keyId === undefined ? {} : { keyId }) })
  }

  /** Whether each row bears the MAC of one of the token's row-MAC keys. */
  checkRows(rows: readonly SealedRow[]): Promise<boolean[]> {
    return forkCeremony(this.#chosen.environment, 'checkRows', this.#chosen.token, { rows })
  }

  makeBackupRecipient(): Promise<Recipient> {
    return forkCeremony(this.#chosen.environment, 'makeBackupRecipient', this.#chosen.token)
  }

  /**
   * See `restoreKeys`. Then the backup KEK for the next recipient on disk ({@link PendingBackup}), then the end of the ceremony: a crash before that
   * leaves a token that is not used, and the same call starts over.
   */
  async restore(backup: TokenBackup, { nextRecipient }: { readonly nextRecipient?: Uint8Array } = {}): Promise<TokenIdentity> {
    const { environment, token } = this.#chosen
    const restored = await forkCeremony(environment, 'restoreKeys', token, { ...backup, ...(nextRecipient === undefined ? {} : { nextRecipient }) })
    if (restored.kek === undefined) this.#pending.remove()
    else this.#pending.write({ kek: restored.kek, keys: backup.keys }, new Date().toISOString())
    await forkCeremony(environment, 'finishRootKeys', token)
    return restored.identity
  }

  /** Whether the security officer's PIN is at hand, or is typed. */
  get hasOfficer(): boolean {
    return this.#chosen.token.officerPinFile !== undefined
  }

  /** Throws unless both PINs are right. */
  async provePins(): Promise<void> {
    await forkCeremony(this.#chosen.environment, 'provePins', this.#chosen.token)
  }

  /** See `addRootKeys`. */
  addRootKeys(adding: { readonly keys: readonly KeyId[]; readonly rowMac: KeyId }): Promise<RootKeysAdded> {
    return forkCeremony(this.#chosen.environment, 'addRootKeys', this.#chosen.token, adding)
  }

  /** See `makeNextCheckpointKey`. */
  makeNextCheckpointKey(): Promise<TokenIdentity> {
    return forkCeremony(this.#chosen.environment, 'makeNextCheckpointKey', this.#chosen.token)
  }

  /** See `destroyOldCheckpointKeys`. */
  destroyOldCheckpointKeys(): Promise<string[]> {
    return forkCeremony(this.#chosen.environment, 'destroyOldCheckpointKeys', this.#chosen.token)
  }
}
