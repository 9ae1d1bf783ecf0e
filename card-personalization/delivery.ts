import { z } from 'zod'
import { base64, hex } from '../core/bytes.ts'
import { UUID_PATTERN } from '../core/ids.ts'
import { type CardKey, KCV_METHODS } from './delivery-row.ts'

/**
 * The delivery file, as docs/delivery-file.md describes it: line 1 a signed manifest, then one JSON line for each card. Pure: the service writes it and the
 * vendor's program reads it by the same definitions.
 */
export const DELIVERY_FORMAT = 'gridseal-delivery-v1'
/** What line 1 is: see core/signed-document.ts. */
export const DELIVERY_TYPE = 'gridseal-delivery'
export const DELIVERY_CONTENT_TYPE = 'application/vnd.gridseal.delivery'

const COUNT = z.int().min(1).max(10_000_000)
const BASE64 = z.base64().max(8192)

export const DELIVERY_MANIFEST = z.strictObject({
  format: z.literal(DELIVERY_FORMAT),
  order: z.string().regex(UUID_PATTERN),
  purchaseOrder: z.string().max(64).optional(),
  vendor: z.string().max(64),
  profile: z.string().max(64),
  transportKeyId: z.string().max(64),
  macKeyId: z.string().max(64),
  cards: COUNT,
  keysPerCard: z.int().min(1).max(64),
  firstIccid: z.string().max(20),
  lastIccid: z.string().max(20),
  /** SHA-256 of every byte behind line 1, hex. */
  sha256: z.string().regex(/^[0-9a-f]{64}$/),
  /** RFC 3339. */
  created: z.iso.datetime(),
  /** The cards' CA, DER, where the cards have certificates; the root that signed it is the trusted one. */
  cardsCa: BASE64.optional(),
})
export type DeliveryManifest = z.infer<typeof DELIVERY_MANIFEST>

export const DELIVERY_LINE = z.strictObject({
  iccid: z.string().max(20),
  imsi: z.string().max(15),
  keys: z
    .array(
      z.strictObject({
        purpose: z.string().max(32),
        keyVersion: z.int().min(1).max(255),
        kcvMethod: z.enum(KCV_METHODS),
        /** Hex. */
        kcv: z.string().regex(/^([0-9a-f]{2}){3,5}$/),
        wrapped: BASE64,
      }),
    )
    .min(1)
    .max(64),
  mac: BASE64,
  /** The card's certificate, DER, where its profile has one. */
  certificate: BASE64.optional(),
})
export type DeliveryLine = z.infer<typeof DELIVERY_LINE>

/** A card's line, `\n` included. */
export const encodeDeliveryLine = (card: {
  readonly iccid: string
  readonly imsi: string
  readonly keys: readonly CardKey[]
  readonly mac: Uint8Array
  readonly certificate: Uint8Array | undefined
}): string => {
  const line: DeliveryLine = {
    iccid: card.iccid,
    imsi: card.imsi,
    keys: card.keys.map(({ purpose, keyVersion, kcv, wrapped }) => ({
      purpose,
      keyVersion,
      kcvMethod: kcv.method,
      kcv: hex(kcv.value),
      wrapped: base64(wrapped),
    })),
    mac: base64(card.mac),
    ...(card.certificate === undefined ? {} : { certificate: base64(card.certificate) }),
  }
  return `${JSON.stringify(line)}\n`
}

/** The keys of a line, as they are MACed. */
export const keysOfLine = (line: DeliveryLine): CardKey[] =>
  line.keys.map(({ purpose, keyVersion, kcvMethod, kcv, wrapped }) => ({
    purpose,
    keyVersion,
    kcv: { method: kcvMethod, value: Buffer.from(kcv, 'hex') },
    wrapped: Buffer.from(wrapped, 'base64'),
  }))
