import type { KeyId } from '../../core/ids.ts'
import { encodeRow } from '../../core/row.ts'
import { type KeyBackup, keyBackupRow, type Sealed } from '../key-backup.ts'
import { findRootKeys, identify } from '../root-handles.ts'
import { LATER_ROOT_KEYS, type RootKeyIdentity, SIGNING_KEYS } from '../root-keys.ts'
import { CKO } from '../templates.ts'
import type { Token } from '../token.ts'
import { type CeremonyToken, openAsUser } from './officer.ts'
import { findBackupKek, makeP256, makeSecret } from './settled-key.ts'
import { syncFolder } from './sync-folder.ts'

export interface RootKeysAdded {
  readonly keys: readonly RootKeyIdentity[]
  /** Under the token's backup KEK; empty where it has none. */
  readonly backups: readonly Sealed<KeyBackup>[]
}

/**
 * Root keys that came with a later version than the token. `keys`: those that the database has never recorded, so that nothing is under them; one of that name
 * that an earlier ceremony made is destroyed first. `rowMac`: the generation of the row-MAC key that backups are sealed with. All are the user's. Order: each key,
 * which with a backup KEK in the token leaves once under that; sync; then it is used once. A crash leaves keys that nothing uses and that the service refuses
 * the token for, until the same ceremony starts over.
 */
export function addRootKeys(settings: CeremonyToken, { keys, rowMac }: { readonly keys: readonly KeyId[]; readonly rowMac: KeyId }): RootKeysAdded {
  const wrong = keys.find((id) => !LATER_ROOT_KEYS.includes(id))
  if (wrong !== undefined) throw new Error(`${wrong} is no root key that came later`)
  const token = openAsUser(settings)
  const kek = findBackupKek(token)
  const wrapped = new Map(keys.map((id) => [id, makeAnew(token, id, kek?.handle)]))
  if (settings.tokensFolder !== undefined) syncFolder(settings.tokensFolder)
  const roots = findRootKeys(token)
  const made = identify(token, roots).keys.filter(({ keyId }) => keys.includes(keyId))
  const sealing = roots.rotated['row-mac'].all.find(({ id }) => id === rowMac)?.handle
  if (sealing === undefined) throw new Error(`the token has no ${rowMac}`)
  const backups = made.flatMap((key): Sealed<KeyBackup>[] => {
    const blob = wrapped.get(key.keyId)
    if (kek === undefined || blob === undefined) return []
    const backup = { ...key, tokenSerial: token.serial, kek: kek.check, wrapped: blob } as KeyBackup
    return [{ backup, mac: token.cmac(sealing, encodeRow(keyBackupRow(backup))) }]
  })
  return { keys: made, backups }
}

function makeAnew(token: Token, id: KeyId, kek: Parameters<typeof makeSecret>[2]): Buffer | undefined {
  for (const objectClass of [CKO.PUBLIC, CKO.PRIVATE, CKO.SECRET]) {
    const left = token.find(objectClass, id)
    if (left !== undefined) token.destroy(left)
  }
  return (SIGNING_KEYS.includes(id) ? makeP256(token, id, kek) : makeSecret(token, id, kek)).wrapped
}
