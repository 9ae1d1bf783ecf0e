import { z } from 'zod'
import { base64, hex } from '../../core/bytes.ts'
import { REGION } from '../../core/card-facts.ts'
import { UUID_PATTERN } from '../../core/ids.ts'
import type { Kcv } from '../../pkcs11/index.ts'
import { KCV_METHODS } from '../delivery-row.ts'
import type { Delivery } from '../delivery-store.ts'
import type { Order } from '../order.ts'
import { ORDER_STATES } from '../order-state.ts'
import type { OrderHalt } from '../order-store.ts'
import type { TransportKey } from '../transport-key.ts'
import { isConfirmed, type Vendor } from '../vendor.ts'

export const VENDOR_ID = z.string().regex(UUID_PATTERN, 'an id is a UUID in lower case').meta({ description: 'Id of the vendor.' })
export const ORDER_ID = z.string().regex(UUID_PATTERN, 'an id is a UUID in lower case').meta({ description: 'Id of the order.' })
export const TRANSPORT_KEY_ID = z
  .string()
  .regex(/^transport:[0-9a-f-]{36}$/, 'a transport key id is transport: and a UUID in lower case')
  .meta({ description: 'Id of the transport key.', example: 'transport:01936a5e-3c00-7000-8000-000000000001' })
export const REGION_CODE = z
  .string()
  .regex(REGION, 'a region is six digits, the first not 0: province, city, county (GB/T 2260)')
  .meta({ description: 'Province, city and county, six digits (GB/T 2260); 330000 is a whole province, 330100 a whole city.', example: '330106' })
export const PAGE = {
  limit: z.coerce.number().int().min(1).max(1000).default(100).meta({ description: 'How many at most.' }),
}

const KCV = z
  .strictObject({
    method: z.enum(KCV_METHODS).meta({ description: 'aes-gp: AES of sixteen 01, 3 bytes. aes-cmac: CMAC of sixteen 00, 5 bytes.' }),
    value: z.string().meta({ description: 'Hex.', example: '6f2f9be174' }),
  })
  .meta({ id: 'Kcv', description: 'A key check value. Conventions differ, so it says how it was made.' })
const viewKcv = ({ method, value }: Kcv): z.infer<typeof KCV> => ({ method, value: hex(value) })

export const VENDOR = z
  .strictObject({
    vendorId: VENDOR_ID,
    name: z.string(),
    callerName: z.string(),
    state: z
      .enum(['registered', 'half-confirmed', 'confirmed'])
      .meta({ description: 'Confirmed: two officers confirmed the fingerprint of the encryption certificate.' }),
    fingerprint: z.string().meta({ description: 'SHA-256 of the encryption certificate, hex.' }),
    encryptionCertificate: z.string().meta({ description: 'X.509, DER in base64.' }),
    confirmedBy: z.array(z.string()).meta({ description: 'URNs of the officers.' }),
    registeredBy: z.string(),
    registeredAt: z.string(),
  })
  .meta({ id: 'Vendor' })
export type VendorView = z.infer<typeof VENDOR>

export const viewVendor = (v: Vendor): VendorView => ({
  vendorId: v.id,
  name: v.name,
  callerName: v.callerName,
  state: isConfirmed(v) ? 'confirmed' : v.confirmers.length === 1 ? 'half-confirmed' : 'registered',
  fingerprint: hex(v.fingerprint),
  encryptionCertificate: base64(v.certificate),
  confirmedBy: [...v.confirmers],
  registeredBy: v.registeredBy,
  registeredAt: v.registeredAt,
})

export const TRANSPORT_KEY = z
  .strictObject({
    transportKeyId: TRANSPORT_KEY_ID,
    vendorId: VENDOR_ID,
    number: z.int().min(1).max(2_147_483_647).meta({ description: 'The TRANSPORT_KEY of INP files.' }),
    algorithm: z.literal('aes-256'),
    recipient: z.string().meta({ description: 'SHA-256 of the certificate that the key is encrypted to, hex.' }),
    encryption: z.literal('rsa-oaep-sha1-mgf1-sha1'),
    encryptedKey: z.string().meta({ description: 'The transport key under the certificate’s RSA key, base64.' }),
    kcv: KCV,
    macKeyId: z.string(),
    wrappedMacKey: z.string().meta({ description: 'The row-MAC key (AES-256, CMAC) by AES-KWP (RFC 5649) under the transport key, base64.' }),
    macKcv: KCV,
    madeAt: z.string(),
  })
  .meta({ id: 'TransportKey' })
export type TransportKeyView = z.infer<typeof TRANSPORT_KEY>

export const viewTransportKey = (k: TransportKey): TransportKeyView => ({
  transportKeyId: k.id,
  vendorId: k.vendorId,
  number: k.number,
  algorithm: 'aes-256',
  recipient: hex(k.recipient),
  encryption: 'rsa-oaep-sha1-mgf1-sha1',
  encryptedKey: base64(k.encryptedKey),
  kcv: viewKcv(k.kcv),
  macKeyId: k.macKeyId,
  wrappedMacKey: base64(k.wrappedMacKey),
  macKcv: viewKcv(k.macKcv),
  madeAt: k.madeAt,
})

export const ORDER = z
  .strictObject({
    orderId: ORDER_ID,
    vendorId: VENDOR_ID,
    profile: z.string(),
    transportKeyId: TRANSPORT_KEY_ID,
    purchaseOrder: z.string().optional(),
    quantity: z.int().min(1).max(2_147_483_647),
    region: z.string().optional().meta({ description: 'Where its cards belong: six digits (GB/T 2260).' }),
    filled: z.int().min(0).max(2_147_483_647).meta({ description: 'How many cards have their keys.' }),
    state: z.enum(ORDER_STATES as [Order['state'], ...Order['state'][]]),
    submittedBy: z.string(),
    submittedAt: z.string(),
    decidedBy: z.string().optional().meta({ description: 'Who approved or cancelled it.' }),
    decidedAt: z.string().optional(),
    halted: z
      .strictObject({ code: z.string(), detail: z.string(), haltedAt: z.string() })
      .optional()
      .meta({ description: 'Why filling stopped. An officer resumes it.' }),
    delivery: z
      .strictObject({ sha256: z.string(), sealedAt: z.string(), fetches: z.int().min(0).max(2_147_483_647) })
      .optional()
      .meta({ description: '`sha256`: over what follows line 1, hex.' }),
  })
  .meta({ id: 'Order' })
export type OrderView = z.infer<typeof ORDER>

export const viewOrder = (
  o: Order,
  about: { readonly filled?: number; readonly halt?: OrderHalt | undefined; readonly delivery?: Delivery | undefined } = {},
): OrderView => ({
  orderId: o.id,
  vendorId: o.vendorId,
  profile: o.profile,
  transportKeyId: o.transportKeyId,
  ...(o.purchaseOrder === undefined ? {} : { purchaseOrder: o.purchaseOrder }),
  quantity: o.quantity,
  ...(o.region === undefined ? {} : { region: o.region }),
  filled: about.filled ?? 0,
  state: o.state,
  submittedBy: o.submittedBy,
  submittedAt: o.submittedAt,
  ...(o.decidedBy === undefined ? {} : { decidedBy: o.decidedBy }),
  ...(o.decidedAt === undefined ? {} : { decidedAt: o.decidedAt }),
  ...(about.halt === undefined ? {} : { halted: { ...about.halt } }),
  ...(about.delivery === undefined
    ? {}
    : { delivery: { sha256: hex(about.delivery.bodySha256), sealedAt: about.delivery.sealedAt, fetches: about.delivery.fetches } }),
})
