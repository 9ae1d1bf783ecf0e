import type { KeyAlgorithm } from '../index.ts'
import { loadedSpec, SECRET_ALGORITHMS } from '../algorithms.ts'
import { LaneKeys } from '../lane-keys.ts'
import { CKA } from '../templates.ts'
import { Token } from '../token.ts'
import { findSoftHsm, TokenFolder } from '../token-folder.ts'

/**
 * The token of a data folder, opened in the test's own process, once: a module is never finalized. It runs the code of a lane without a lane, and can
 * do what no verb can: bring a known key in.
 */
export function tokenInProcess(dataFolder: string): LaneKeys {
  const folder = new TokenFolder(dataFolder)
  const state = folder.readState()
  if (state?.state !== 'ready') throw new Error('the data folder has no token')
  process.env['SOFTHSM2_CONF'] = folder.configuration
  const place = { modulePath: findSoftHsm(), serial: state.serial }
  return new LaneKeys(Token.open(place, folder.pinFile, { writable: true }), 100)
}

/** A secret key of known value, wrapped as the database would hold it: a planted control for scans, or a key whose answers are published. */
export function wrapKnownKey(keys: LaneKeys, algorithm: Exclude<KeyAlgorithm, 'ec-p256'>, value: Uint8Array): Buffer {
  if (value.length !== SECRET_ALGORITHMS[algorithm].lengthBytes) throw new RangeError('the value has another length than the algorithm')
  const { token } = keys
  const key = token.importKey(token.form({ ...loadedSpec(algorithm), extractable: true, wrapWithTrusted: true }), {
    type: CKA.VALUE,
    value: Buffer.from(value),
  })
  try {
    return Buffer.from(token.wrap(keys.current('storage-kek'), key))
  } finally {
    token.destroy(key)
  }
}
