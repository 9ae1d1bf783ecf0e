import { z } from 'zod'
import { hex, sha256, utf8 } from '../../../core/bytes.ts'
import { type KeyId, keyId, UUID_PATTERN } from '../../../core/ids.ts'
import { Problem } from '../../../core/problem.ts'
import { encodeRow, type RowSealer } from '../../../core/row.ts'
import { documentToSign, signedDocument } from '../../../core/signed-document.ts'
import { type Hsm, ROOT_KEYS, type TokenIdentity, type TokenKeyAttributes, type TokenKeys } from '../../../pkcs11/index.ts'
import { operation } from '../../../policies/operation.ts'
import { type FoundKey, keyFacts } from '../key.ts'
import type { KeyStore } from '../key-store.ts'
import { isTokenKeyId, type Statement, STATEMENT, STATEMENT_TYPE, TOKEN_KEY_ID } from '../statement.ts'

interface Deps {
  readonly keys: KeyStore
  readonly sealer: RowSealer
  readonly hsm: Pick<Hsm, 'signWithRoot'> & TokenKeys
  readonly token: Pick<TokenIdentity, 'serial' | 'label'>
  /** The statement key's certificate and the root's, DER. */
  readonly chain: () => Promise<readonly Uint8Array[]>
  readonly now: () => Date
}
interface Target {
  readonly keyId: KeyId
  readonly found: FoundKey | undefined
  readonly attributes: TokenKeyAttributes | undefined
}

const OUTPUT = z.strictObject({
  statement: STATEMENT,
  signed: z.string().meta({
    description:
      'The statement as a JWS (RFC 7515) of the statement key, with its certificate and the root’s. `gridseal key verify-statement` checks it offline.',
  }),
})

/** Reads a key's attributes, or checks its row, and signs what was found. */
export const attestKeyOperation = ({ keys, sealer, hsm, token, chain, now }: Deps) =>
  operation({
    name: 'kms.key.attest',
    summary: 'States, signed by the token, what a key is and who guarantees it.',
    effect: 'transient',
    route: { method: 'GET', path: '/v1/kms/keys/{keyId}/statement' },
    input: z.strictObject({
      keyId: z
        .string()
        .refine((text) => UUID_PATTERN.test(text) || TOKEN_KEY_ID.test(text), 'not a key id')
        .transform(keyId)
        .meta({ description: 'Id of a caller’s key, or the name of a key in the token', example: 'root:ca-cards' }),
    }),
    output: OUTPUT,
    locate: async ({ keyId: id }): Promise<Target> => {
      if (isTokenKeyId(id)) return { keyId: id, found: undefined, attributes: await hsm.readAttributes(id) }
      const found = await keys.findKey(id)
      if (found !== undefined) await sealer.assertRows([found.sealed])
      return { keyId: id, found, attributes: undefined }
    },
    uses: () => [{ action: 'sign', keyId: ROOT_KEYS.statement }],
    facts: ({ keyId: id, found }) => ({ public: keyFacts(id, found?.record) }),
    admit: ({ found, attributes }) =>
      attributes === undefined && found?.record.wrapped === undefined ? new Problem('not-found', 'There is no key with this id.') : undefined,
    execute: async (permit, target) => {
      const statement = STATEMENT.parse(stated(target, token, now()))
      const input = documentToSign(STATEMENT_TYPE, statement, await chain())
      const [signature] = await hsm.signWithRoot(permit, ROOT_KEYS.statement, [utf8(input)])
      if (signature === undefined) throw new Problem('hsm-failed', 'The HSM gave no signature for a statement.')
      return { statement, signed: signedDocument(input, signature) }
    },
    outcomeFacts: (_target, { statement, signed }) => ({ public: { residence: statement.residence, statementSha256: hex(sha256(utf8(signed))) } }),
    respond: (_target, result) => result,
  })

function stated({ keyId: id, found, attributes }: Target, { serial, label }: Deps['token'], at: Date): Statement {
  const common = { format: 'gridseal-key-statement-v1', statedAt: at.toISOString(), keyId: id, token: { serial, label } } as const
  if (attributes !== undefined) {
    const { class: kind, keyType, flags, uses, mechanisms } = attributes
    return {
      ...{ ...common, residence: 'token' },
      attributes: { class: kind, keyType, flags: { ...flags }, uses: [...uses], mechanisms: mechanisms.map((mechanism) => `0x${mechanism.toString(16)}`) },
    }
  }
  if (found === undefined) throw new Problem('internal', 'A key that was found is gone.')
  const { algorithm, state, owner, publicKey, kcv, version } = found.record
  return {
    ...{ ...common, residence: 'wrapped', algorithm, state, owner },
    ...(publicKey === undefined ? {} : { publicKeySha256: hex(sha256(publicKey)) }),
    ...(kcv === undefined ? {} : { kcv: { method: kcv.method, value: hex(kcv.value) } }),
    guarantee: {
      ...{ exportable: false, wrappedBy: 'root:storage-kek', sealedBy: 'root:row-mac' },
      row: { version, sha256: hex(sha256(encodeRow(found.sealed.row))) },
    },
  }
}
