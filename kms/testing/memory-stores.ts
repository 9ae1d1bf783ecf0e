import type { KeyId } from '../../core/ids.ts'
import { Problem } from '../../core/problem.ts'
import type { Row, RowSealer } from '../../core/row.ts'
import type { Tx } from '../../core/tx.ts'
import { type CertificateRecord, certificateRow, type FoundCertificate } from '../certificates/certificate.ts'
import type { CertificateStore } from '../certificates/certificate-store.ts'
import { type FoundKey, type KeyRecord, keyRow } from '../keys/key.ts'
import { type KeyStore, STALE_RESERVATION_MS } from '../keys/key-store.ts'

/** {@link KeyStore} in memory. Writes stand at once: it knows no transactions. `rows` may be edited, as who writes the database can. */
export class MemoryKeyStore implements KeyStore {
  readonly rows = new Map<string, FoundKey>()
  readonly #sealer: RowSealer

  constructor(sealer: RowSealer) {
    this.#sealer = sealer
  }

  findKey(id: KeyId): Promise<FoundKey | undefined> {
    return Promise.resolve(this.rows.get(id))
  }

  listKeys(owner: string, { after = '' as KeyId, limit }: { readonly after?: KeyId; readonly limit: number }): Promise<FoundKey[]> {
    const mine = [...this.rows.values()].filter(({ record }) => record.owner === owner && record.id > after && record.wrapped !== undefined)
    return Promise.resolve(mine.sort((a, b) => (a.record.id < b.record.id ? -1 : 1)).slice(0, limit))
  }

  async reserveKey(tx: Tx, key: KeyRecord): Promise<Row[]> {
    const taken = (): FoundKey | undefined =>
      [...this.rows.values()].find(({ record: { owner, label, state } }) => owner === key.owner && label === key.label && state !== 'destroyed')
    const other = taken()?.record
    if (other?.state === 'reserved' && other.createdAt.getTime() <= key.createdAt.getTime() - STALE_RESERVATION_MS) {
      const stale = await this.replaceKey(tx, { ...other, version: other.version + 1, state: 'destroyed' })
      return [stale, ...(await this.reserveKey(tx, key))]
    }
    const row = await this.#put(key, () => {
      if (taken() !== undefined) throw new Problem('conflict', 'There is a key of that label already.')
    })
    return [row]
  }

  replaceKey(_tx: Tx, key: KeyRecord): Promise<Row> {
    return this.#put(key, () => {
      if (this.rows.get(key.id)?.record.version !== key.version - 1) throw new Problem('conflict', 'The key was changed meanwhile.')
    })
  }

  async #put(record: KeyRecord, assertFree: () => void): Promise<Row> {
    const row = keyRow(record)
    const [mac] = await this.#sealer.macRows([row])
    assertFree()
    this.rows.set(record.id, { record, sealed: { row, mac: mac ?? new Uint8Array() } })
    return row
  }
}

/** {@link CertificateStore} in memory. */
export class MemoryCertificateStore implements CertificateStore {
  readonly rows = new Map<string, FoundCertificate>()
  readonly #sealer: RowSealer

  constructor(sealer: RowSealer) {
    this.#sealer = sealer
  }

  findBySerial(serial: string): Promise<FoundCertificate | undefined> {
    return Promise.resolve(this.rows.get(serial))
  }

  findByFingerprint(fingerprint: string): Promise<FoundCertificate | undefined> {
    return Promise.resolve([...this.rows.values()].find(({ record }) => record.fingerprint === fingerprint))
  }

  findCurrent(kind: string, subjectId: string): Promise<FoundCertificate | undefined> {
    const all = [...this.rows.values()].filter(({ record: r }) => r.subjectKind === kind && r.subjectId === subjectId && r.state === 'issued')
    return Promise.resolve(all.sort((a, b) => b.record.notAfter.getTime() - a.record.notAfter.getTime())[0])
  }

  findLast(kind: string, subjectIds: readonly string[]): Promise<Map<string, FoundCertificate>> {
    const all = [...this.rows.values()].filter(({ record: r }) => r.subjectKind === kind && subjectIds.includes(r.subjectId) && r.state !== 'reserved')
    const order = ({ record: r }: FoundCertificate) => `${r.notBefore.toISOString()} ${r.state === 'issued' ? 1 : 0}`
    const sorted = all.sort((a, b) => (order(a) < order(b) ? -1 : 1))
    return Promise.resolve(new Map(sorted.map((one) => [one.record.subjectId, one])))
  }

  listRevoked(authority: string, since = new Date(0)): Promise<{ readonly serial: string; readonly revokedAt: Date }[]> {
    const all = [...this.rows.values()].flatMap(({ record: r }) =>
      r.authority === authority && r.revoked !== undefined && r.revoked.at >= since ? [{ serial: r.serial, revokedAt: r.revoked.at }] : [],
    )
    return Promise.resolve(all.sort((a, b) => a.revokedAt.getTime() - b.revokedAt.getTime() || (a.serial < b.serial ? -1 : 1)))
  }

  async countRevoked(authority: string, since: Date): Promise<number> {
    return (await this.listRevoked(authority, since)).length
  }

  reserveCertificates(_tx: Tx, certificates: readonly CertificateRecord[]): Promise<Row[]> {
    return this.#put(certificates, ({ serial }) => !this.rows.has(serial))
  }

  replaceCertificates(_tx: Tx, certificates: readonly CertificateRecord[]): Promise<Row[]> {
    return this.#put(certificates, (next) => this.rows.get(next.serial)?.record.version === next.version - 1 && !this.#isSecondOfAuthority(next))
  }

  #isSecondOfAuthority({ serial, subjectKind, subjectId, state }: CertificateRecord): boolean {
    const others = [...this.rows.values()].filter(({ record }) => record.serial !== serial && record.subjectId === subjectId && record.state === 'issued')
    return subjectKind === 'authority' && state === 'issued' && others.length > 0
  }

  async #put(certificates: readonly CertificateRecord[], isFree: (certificate: CertificateRecord) => boolean): Promise<Row[]> {
    const rows = certificates.map(certificateRow)
    const macs = await this.#sealer.macRows(rows)
    if (!certificates.every(isFree)) throw new Problem('conflict', 'The certificate was changed or issued meanwhile.')
    certificates.forEach((record, at) => {
      this.rows.set(record.serial, { record, sealed: { row: certificateRow(record), mac: macs[at] ?? new Uint8Array() } })
    })
    return rows
  }
}
