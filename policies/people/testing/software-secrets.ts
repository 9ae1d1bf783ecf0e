import { createCipheriv, createDecipheriv, createHmac, randomBytes } from 'node:crypto'
import type { RowSealer } from '../../../core/row.ts'
import type { PersonSecrets } from '../person-secrets.ts'

export interface SoftwareSecrets extends PersonSecrets {
  /** What was asked of it, in order. */
  readonly calls: string[]
  /** A given secret as it would be stored. */
  wrap(secret: Uint8Array): Uint8Array
}

/** {@link PersonSecrets} in software, for tests. Without `root` its keys live as long as it does. `sealer` checks the rows, as a lane does. */
export function softwareSecrets(sealer: RowSealer, { root = randomBytes(32) }: { readonly root?: Uint8Array } = {}): SoftwareSecrets {
  const derive = (name: string): Buffer => createHmac('sha256', root).update(name).digest()
  const [pepperKey, wrapKey] = [derive('pepper'), derive('wrap')]
  const calls: string[] = []
  const wrap = (secret: Uint8Array): Uint8Array => {
    const iv = randomBytes(12)
    const cipher = createCipheriv('aes-256-gcm', wrapKey, iv)
    return Buffer.concat([iv, cipher.update(secret), cipher.final(), cipher.getAuthTag()])
  }
  return {
    ...{ calls, wrap },
    pepper: (purpose, value) => {
      calls.push(`pepper ${purpose}`)
      return Promise.resolve(createHmac('sha256', pepperKey).update(purpose).update(Buffer.of(0)).update(value).digest())
    },
    makeOtpSecret: () => {
      const secret = randomBytes(20)
      return Promise.resolve({ wrapped: wrap(secret), secret })
    },
    otpHmac: async (sealed, counters) => {
      calls.push(`otp of ${String(counters.length)} counters`)
      await sealer.assertRows([sealed])
      const wrapped = Buffer.from(sealed.row.columns['wrapped'] as Uint8Array)
      const decipher = createDecipheriv('aes-256-gcm', wrapKey, wrapped.subarray(0, 12)).setAuthTag(wrapped.subarray(-16))
      const secret = Buffer.concat([decipher.update(wrapped.subarray(12, -16)), decipher.final()])
      return counters.map((counter) => {
        const bytes = Buffer.alloc(8)
        bytes.writeBigUInt64BE(BigInt(counter))
        return createHmac('sha1', secret).update(bytes).digest()
      })
    },
  }
}
