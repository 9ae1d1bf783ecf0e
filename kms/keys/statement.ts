import { z } from 'zod'
import { UUID_PATTERN } from '../../core/ids.ts'

/** `typ` of the signed document (core/signed-document.ts), and the service certificate that signs it. */
export const STATEMENT_TYPE = 'gridseal-key-statement'
export const STATEMENT_SERVICE = 'statement'

/** Keys that live in the token have names, all others are UUIDs. */
export const TOKEN_KEY_ID = /^(?:root|master|transport):[a-z0-9-]{1,64}$/
export const isTokenKeyId = (keyId: string): boolean => TOKEN_KEY_ID.test(keyId)

const HEX = z.string().regex(/^(?:[0-9a-f]{2})+$/)
const COMMON = {
  format: z.literal('gridseal-key-statement-v1'),
  /** RFC 3339. */
  statedAt: z.iso.datetime(),
  token: z.strictObject({ serial: z.string(), label: z.string() }),
}

/** The token says it, and this service read it at `statedAt`. */
const IN_TOKEN = z.strictObject({
  ...COMMON,
  residence: z.literal('token').meta({ description: 'The key lives in the token. `attributes` are what the token answered.' }),
  keyId: z.string().regex(TOKEN_KEY_ID),
  attributes: z.strictObject({
    class: z.enum(['secret', 'private']),
    keyType: z.string(),
    flags: z.record(z.string(), z.boolean()).meta({ description: 'CKA_LOCAL, CKA_ALWAYS_SENSITIVE, CKA_EXTRACTABLE ...: those that the token knows' }),
    uses: z.array(z.string()),
    mechanisms: z.array(z.string()).meta({ description: 'CKA_ALLOWED_MECHANISMS, hex' }),
  }),
})

/** The service says it: a wrapped key is a row of the database, and no attribute of a token object outlives its use. */
const WRAPPED = z.strictObject({
  ...COMMON,
  residence: z
    .literal('wrapped')
    .meta({ description: 'The key lies wrapped in the database. What is said of it is the service’s guarantee, and not the token’s.' }),
  keyId: z.string().regex(UUID_PATTERN),
  algorithm: z.string(),
  state: z.string(),
  owner: z.string(),
  /** SPKI SHA-256, hex. */
  publicKeySha256: HEX.optional(),
  kcv: z.strictObject({ method: z.string(), value: HEX }).optional(),
  guarantee: z.strictObject({
    exportable: z.literal(false).meta({ description: 'The service has no operation that gives the key out, wrapped or in clear.' }),
    wrappedBy: z.literal('root:storage-kek'),
    sealedBy: z.literal('root:row-mac').meta({ description: 'The row’s MAC was checked for this statement, and is checked at each use.' }),
    row: z.strictObject({ version: z.int(), sha256: HEX }),
  }),
})

/** What is said of a key, and by whom. Pure: the service writes it, and who relies on it reads it, by the same definition. docs/key-statements.md has it in words. */
export const STATEMENT = z.discriminatedUnion('residence', [IN_TOKEN, WRAPPED])
export type Statement = z.infer<typeof STATEMENT>
