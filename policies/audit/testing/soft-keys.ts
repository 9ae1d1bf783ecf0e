import { createHmac, generateKeyPairSync, randomBytes, sign } from 'node:crypto'
import { equalBytes, utf8 } from '../../../core/bytes.ts'
import type { AuditKeys } from '../index.ts'

/** The log's keys in software, for tests and benchmarks: HMAC-SHA-256 cut to 16 bytes in place of the token's CMAC, and an Ed25519 key. */
export function softKeys(): AuditKeys {
  const [groupKey, indexKey] = [randomBytes(32), randomBytes(32)]
  const mac = (key: Uint8Array, message: Uint8Array): Uint8Array => createHmac('sha256', key).update(message).digest().subarray(0, 16)
  const { publicKey, privateKey } = generateKeyPairSync('ed25519')
  return {
    macGroup: (message) => Promise.resolve(mac(groupKey, message)),
    checkGroups: (groups) => Promise.resolve(groups.map((group) => equalBytes(mac(groupKey, group.message), group.mac))),
    signCheckpoint: (text) => Promise.resolve(sign(null, text, privateKey)),
    checkpointKey: { algorithm: 'ed25519', publicKey: publicKey.export({ format: 'der', type: 'spki' }) },
    blindIndex: (values) => Promise.resolve(values.map(({ name, value }) => mac(indexKey, utf8(`${name}\u0000${value}`)))),
  }
}
