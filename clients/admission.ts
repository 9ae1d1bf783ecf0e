import { hex, sha256, utf8 } from '../core/bytes.ts'
import { byTwo, type Officer } from './held.ts'

const YEAR_MS = 365 * 24 * 3_600_000

/** A filing as officers write it: made-up documents of a made-up company. */
export const exampleFiling = (name: string, { expiresAt = new Date(Date.now() + YEAR_MS) }: { readonly expiresAt?: Date } = {}) => ({
  organisation: {
    name: `${name} Ltd`,
    licenceNumber: `EX-${hex(sha256(utf8(name)))
      .slice(0, 12)
      .toUpperCase()}`,
    licenceSha256: hex(sha256(utf8(`the business licence of ${name}`))),
  },
  user: { name: 'Example User', phone: '+86 571 5555 0100', mail: 'user@example.com' },
  responsible: { name: 'Example Manager', phone: '+86 571 5555 0101', mail: 'manager@example.com' },
  assessment: {
    reference: `assessment of ${name}`,
    reportSha256: hex(sha256(utf8(`the assessment report of ${name}`))),
    expiresAt: expiresAt.toISOString(),
  },
})

/** Files the admission of a vendor or module, by two officers. */
export const fileAdmission = (officers: readonly [Officer, Officer], callerId: string, filing: ReturnType<typeof exampleFiling>): Promise<object> =>
  byTwo(officers, `/v1/policies/callers/${callerId}/admission`, filing)
