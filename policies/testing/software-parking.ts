import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto'
import { holdInputRow, type Parking } from '../holds/index.ts'
import { testSealer } from './row-sealer.ts'

/** AES-256-GCM as the token does it, by keys that stand in the row as they are. */
export const softwareParking: Parking = {
  seal: async (permit, key, parts) => {
    permit.assertAllows('generate', key)
    permit.assertAllows('encrypt', key)
    const wrapped = randomBytes(32)
    const row = holdInputRow(key, 1, { algorithm: 'aes-gcm-256', wrapped })
    const [mac = new Uint8Array()] = await testSealer.macRows([row])
    const encrypted = parts.map(({ plaintext, aad }) => {
      const iv = randomBytes(12)
      const cipher = createCipheriv('aes-256-gcm', wrapped, iv).setAAD(aad)
      return Buffer.concat([iv, cipher.update(plaintext), cipher.final(), cipher.getAuthTag()])
    })
    return { sealed: { row, mac }, parts: encrypted }
  },
  open: async (permit, key, { sealed, parts }, aads) => {
    permit.assertAllows('decrypt', key)
    await testSealer.assertRows([sealed])
    const wrapped = sealed.row.columns['wrapped']
    if (!(wrapped instanceof Uint8Array)) throw new Error('no key')
    try {
      return parts.map((part, at) => {
        const decipher = createDecipheriv('aes-256-gcm', wrapped, part.subarray(0, 12))
          .setAAD(aads[at] ?? Buffer.of())
          .setAuthTag(part.subarray(-16))
        return Buffer.concat([decipher.update(part.subarray(12, -16)), decipher.final()])
      })
    } catch {
      return undefined
    }
  },
}
