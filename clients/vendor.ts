import { X509Certificate } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { makeEncryptionCertificate } from './csr.ts'
import { enrol, type Participant, type Service } from './site.ts'

/** A card vendor's side: its TLS identity, its encryption key, and the transport key that it was given. */
export interface Vendor extends Participant {
  readonly vendorId: string
  /** PEM. */
  readonly encryptionKey: string
  readonly encryptionCertificate: string
  readonly fingerprint: string
  readonly transportKeyId: string
}

const BASE = '/v1/card-personalization'

/** Everything until a vendor may order: registration, certificate, admission, two confirmations of its encryption certificate, transport key. */
export async function enrolVendor({
  site,
  name,
}: {
  readonly site: { readonly service: Service; readonly trust: string; readonly officers: readonly Participant[] }
  readonly name: string
}): Promise<Vendor> {
  const [first, second] = site.officers
  if (first === undefined || second === undefined) throw new Error('two officers are needed')
  const participant = await enrol(first, { url: site.service.url, trust: site.trust }, { kind: 'vendor', name, approver: second })
  const { privateKey, certificate } = await makeEncryptionCertificate(name)
  const fingerprint = new X509Certificate(certificate).fingerprint256.replaceAll(':', '').toLowerCase()
  const { vendorId } = await first.client.post<{ vendorId: string }>(`${BASE}/vendors`, { name, callerName: name, encryptionCertificate: certificate })
  for (const officer of [first, second]) await officer.client.post(`${BASE}/vendors/${vendorId}/confirm`, { fingerprint })
  const { transportKeyId } = await first.client.post<{ transportKeyId: string }>(`${BASE}/vendors/${vendorId}/transport-keys`)
  return { ...participant, vendorId, encryptionKey: privateKey, encryptionCertificate: certificate, fingerprint, transportKeyId }
}

/** Orders a series of cards; answers the order's id. */
export async function submitOrder(
  vendor: Vendor,
  series: { readonly start: { readonly iccid: string; readonly imsi: string }; readonly quantity: number },
): Promise<string> {
  const { orderId } = await vendor.client.post<{ orderId: string }>(`${BASE}/orders`, {
    profile: 'grid-usim-1',
    transportKeyId: vendor.transportKeyId,
    ...series,
  })
  return orderId
}

export interface OrderProgress {
  readonly state: string
  readonly filled: number
  readonly quantity: number
  readonly halted?: { readonly code: string; readonly detail: string }
}

/** Waits until the delivery is ready. Throws when filling was halted, or nothing came within `timeoutMs`. */
export async function waitForOrder(
  vendor: Pick<Participant, 'client'>,
  orderId: string,
  { onProgress, timeoutMs = 300_000 }: { readonly onProgress?: (order: OrderProgress) => void; readonly timeoutMs?: number } = {},
): Promise<void> {
  const deadline = performance.now() + timeoutMs
  for (;;) {
    const order = await vendor.client.get<OrderProgress>(`${BASE}/orders/${orderId}`)
    onProgress?.(order)
    if (order.state === 'ready' || order.state === 'delivered') return
    if (order.halted !== undefined) throw new Error(`filling was halted: ${order.halted.code}: ${order.halted.detail}`)
    if (performance.now() > deadline) throw new Error(`the order is still ${order.state}, ${String(order.filled)} of ${String(order.quantity)} cards filled`)
    await sleep(50)
  }
}
