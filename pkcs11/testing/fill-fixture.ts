import { createDecipheriv, generateKeyPairSync, privateDecrypt } from 'node:crypto'
import { type KeyId, keyId, newUuid } from '../../core/ids.ts'
import type { SealedRow } from '../../core/row.ts'
import { withTestPermit } from '../../policies/testing/memory-gate.ts'
import type { CardKeyPlan, CardMaster, StoredKey, TransportKeyMade } from '../index.ts'
import type { TestToken } from './test-token.ts'

export const PLAN: readonly CardKeyPlan[] = [
  { purpose: 'ki', source: { kind: 'random' }, kcv: 'aes-gp' },
  { purpose: 'opc', source: { kind: 'opc', of: 'ki' }, kcv: 'aes-gp' },
  { purpose: 'gp-enc', source: { kind: 'derived', type: 1 }, kcv: 'aes-gp' },
  { purpose: 'gp-mac', source: { kind: 'derived', type: 2 }, kcv: 'aes-gp' },
  { purpose: 'gp-dek', source: { kind: 'derived', type: 3 }, kcv: 'aes-gp' },
  { purpose: 'auth', source: { kind: 'derived', type: 0x10 }, kcv: 'aes-cmac' },
]

export const sealed = async ({ integrity }: TestToken, id: KeyId, columns: SealedRow['row']['columns']): Promise<SealedRow> => {
  const row = { table: 'keys', schema: 1, id, version: 1, columns }
  const [mac = new Uint8Array()] = await integrity.macRows([row])
  return { row, mac }
}

export interface FillFixture {
  readonly master: CardMaster
  readonly operatorKey: StoredKey
  readonly transportKeyId: KeyId
  readonly made: TransportKeyMade
  /** The transport key's value, as its recipient opens it. */
  readonly transportKey: Buffer
  /** Opens what was wrapped under the transport key. */
  unwrap(wrapped: Uint8Array): Buffer
}

/** A master, an operator key and a transport key, by their ceremonies. */
export async function fillFixture(test: TestToken): Promise<FillFixture> {
  const [masterId, operatorId, transportKeyId, macKeyId] = [`master:${newUuid()}`, newUuid(), `transport:${newUuid()}`, newUuid()].map(keyId) as [
    KeyId,
    KeyId,
    KeyId,
    KeyId,
  ]
  const { publicKey, privateKey } = generateKeyPairSync('rsa', { modulusLength: 3072 })
  const recipient = publicKey.export({ type: 'spki', format: 'der' })
  const uses = [
    { action: 'ceremony', keyId: masterId },
    { action: 'generate', keyId: operatorId },
    { action: 'ceremony', keyId: transportKeyId },
    { action: 'generate', keyId: macKeyId },
  ] as const
  const { k1, katKcv, operator, made } = await withTestPermit(uses, async (permit) => ({
    ...(await test.hsm.makeCardMaster(permit, masterId)),
    operator: await test.hsm.generate(permit, operatorId, 'aes-128'),
    made: await test.hsm.makeTransportKey(permit, { keyId: transportKeyId, macKeyId, recipient }),
  }))
  const transportKey = privateDecrypt({ key: privateKey, oaepHash: 'sha1' }, made.encryptedKey)
  return {
    master: { id: masterId, sealed: await sealed(test, masterId, { k1, kat_kcv: katKcv }) },
    operatorKey: { id: operatorId, sealed: await sealed(test, operatorId, { algorithm: 'aes-128', wrapped: operator.wrapped }) },
    transportKeyId,
    made,
    transportKey,
    unwrap: (wrapped) => {
      const decipher = createDecipheriv('id-aes256-wrap-pad', transportKey, Buffer.from('a65959a6', 'hex'))
      return Buffer.concat([decipher.update(wrapped), decipher.final()])
    },
  }
}
