import { createHmac, createPrivateKey, createPublicKey, randomBytes, sign } from 'node:crypto'
import { equalBytes, utf8 } from '../../../core/bytes.ts'
import { Problem } from '../../../core/problem.ts'
import { encodeRow, type RowSealer } from '../../../core/row.ts'
import type { AuditKeys } from '../index.ts'

/** PKCS#8 of an Ed25519 private key (RFC 8410) up to its 32 bytes. */
const ED25519_PKCS8 = Buffer.from('302e020100300506032b657004220420', 'hex')

/**
 * The log's keys in software, for tests and benchmarks: HMAC-SHA-256 cut to 16 bytes in place of the token's CMAC, and an Ed25519 key. `seed`: processes that are to have the
 * same ones.
 */
export function softKeys(seed: Uint8Array = randomBytes(32)): AuditKeys & RowSealer {
  const [groupKey, indexKey, signing] = ['group', 'index', 'checkpoint'].map((name) => createHmac('sha256', seed).update(name).digest()) as [
    Buffer,
    Buffer,
    Buffer,
  ]
  const rowKey = createHmac('sha256', seed).update('row').digest()
  const mac = (key: Uint8Array, message: Uint8Array): Uint8Array => createHmac('sha256', key).update(message).digest().subarray(0, 16)
  const privateKey = createPrivateKey({ key: Buffer.concat([ED25519_PKCS8, signing]), format: 'der', type: 'pkcs8' })
  const publicKey = createPublicKey(privateKey)
  return {
    macGroup: (message) => Promise.resolve(mac(groupKey, message)),
    checkGroups: (groups) => Promise.resolve(groups.map((group) => equalBytes(mac(groupKey, group.message), group.mac))),
    signCheckpoint: (text) => Promise.resolve(sign(null, text, privateKey)),
    checkpointKey: { algorithm: 'ed25519', publicKey: publicKey.export({ format: 'der', type: 'spki' }) },
    macRows: (rows) => Promise.resolve(rows.map((row) => mac(rowKey, encodeRow(row)))),
    assertRows: (rows) => {
      const wrong = rows.find((one) => !equalBytes(mac(rowKey, encodeRow(one.row)), one.mac))
      return wrong === undefined
        ? Promise.resolve()
        : Promise.reject(new Problem('integrity-failed', `The row ${wrong.row.id} of ${wrong.row.table} is edited.`))
    },
    blindIndex: (values) => Promise.resolve(values.map(({ name, value }) => mac(indexKey, utf8(`${name}\u0000${value}`)))),
  }
}
