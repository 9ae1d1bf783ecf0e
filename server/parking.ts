import { Problem } from '../core/problem.ts'
import type { RowSealer } from '../core/row.ts'
import type { Ciphers, Hsm } from '../pkcs11/index.ts'
import { holdInputRow, type Parking } from '../policies/holds/index.ts'

const ALGORITHM = 'aes-gcm-256'

/** Inputs of held requests, each encrypted by a key of its own that the token makes, wrapped under the storage KEK: with its row it is gone. */
export const tokenParking = ({ hsm, sealer }: { readonly hsm: Hsm & Ciphers; readonly sealer: RowSealer }): Parking => ({
  seal: async (permit, key, parts) => {
    const { wrapped } = await hsm.generate(permit, key, ALGORITHM)
    const row = holdInputRow(key, 1, { algorithm: ALGORITHM, wrapped })
    const [mac] = await sealer.macRows([row])
    if (mac === undefined) throw new Problem('hsm-failed', 'The HSM gave no MAC for a record.')
    const sealed = { row, mac }
    return { sealed, parts: await hsm.encrypt(permit, { id: key, sealed }, parts) }
  },
  open: async (permit, key, { sealed, parts }, aads) => {
    const opened = await hsm.decrypt(
      permit,
      { id: key, sealed },
      parts.map((ciphertext, at) => ({ ciphertext, aad: aads[at] ?? new Uint8Array() })),
    )
    const plain = opened.filter((part) => part !== undefined)
    return plain.length === parts.length ? plain : undefined
  },
})
