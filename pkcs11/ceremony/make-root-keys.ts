import type { KeyId } from '../../core/ids.ts'
import { P256_PUBLIC } from '../algorithms.ts'
import { cryptokiError } from '../errors.ts'
import { CKK, CKM, ED25519_PARAMS, P256_PARAMS } from '../mechanisms.ts'
import { findRootKeys, identify, kwpCheckValue, missingRootKeys } from '../root-handles.ts'
import { MAC_KEYS, SIGNING_KEYS, SYSTEM_KEYS, type TokenIdentity } from '../root-keys.ts'
import { CKO } from '../templates.ts'
import type { Token } from '../token.ts'
import { type CeremonyToken, makeTrusted, openForCeremony } from './officer.ts'
import { syncFolder } from './sync-folder.ts'

const ROOT_KEY_COUNT = 2 + MAC_KEYS.length + SIGNING_KEYS.length

/** Which root keys a token lacks, and whether it has none at all. */
export function listRootKeys(settings: CeremonyToken): { readonly missing: readonly KeyId[]; readonly none: boolean } {
  const token = openForCeremony(settings)
  token.login('user', settings.pinFile)
  const missing = missingRootKeys(token)
  return { missing, none: missing.length === ROOT_KEY_COUNT }
}

/**
 * All root keys, in a token that has none of them. The storage KEK is TRUSTED and so the officer's; the others are made by the user, private from
 * the start and not extractable. Order: keys, sync, then every key is used once and its KCV or public part told. Throws when some but not all are there.
 */
export function makeRootKeys(settings: CeremonyToken): TokenIdentity {
  const token = openForCeremony(settings)
  token.login('user', settings.pinFile)
  const there = ROOT_KEY_COUNT - missingRootKeys(token).length
  if (there > 0) throw new Error(`the token already has ${there} of the root keys`)
  token.logout()

  const kek = { label: SYSTEM_KEYS.storageKek, uses: ['wrap', 'unwrap'] as const }
  const { handle, left } = makeTrusted(token, settings, kek, { extractable: false, work: (original) => kwpCheckValue(token, original, true) })
  if (!kwpCheckValue(token, handle).equals(left)) throw new Error('the settled storage KEK is not the key that was made')
  for (const id of MAC_KEYS) {
    token.generate(token.form({ class: CKO.SECRET, keyType: CKK.AES, label: id, uses: ['sign'], mechanisms: [CKM.AES_CMAC] }), 32)
  }
  for (const id of SIGNING_KEYS) makeP256(token, id)
  makeCheckpointKey(token)

  if (settings.tokensFolder !== undefined) syncFolder(settings.tokensFolder)
  return identify(token, findRootKeys(token))
}

function makeP256(token: Token, label: KeyId): void {
  const privateForm = token.form({ class: CKO.PRIVATE, keyType: CKK.EC, label, uses: ['sign'], mechanisms: [CKM.ECDSA] })
  token.generatePair(CKM.EC_KEY_PAIR_GEN, P256_PARAMS, token.form({ ...P256_PUBLIC, label }), privateForm)
}

/** Ed25519; a token that has none of it refuses by an error, and then it is P-256. */
function makeCheckpointKey(token: Token): void {
  const label = SYSTEM_KEYS.checkpoint
  const kind = { keyType: CKK.EC_EDWARDS, label }
  try {
    const publicForm = token.form({ class: CKO.PUBLIC, ...kind, uses: ['verify'], mechanisms: [] })
    const privateForm = token.form({ class: CKO.PRIVATE, ...kind, uses: ['sign'], mechanisms: [CKM.EDDSA] })
    token.generatePair(CKM.EC_EDWARDS_KEY_PAIR_GEN, ED25519_PARAMS, publicForm, privateForm)
  } catch (error) {
    if (cryptokiError(error) === undefined) throw error
    makeP256(token, label)
  }
}
