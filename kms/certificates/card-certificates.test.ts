import { randomBytes } from 'node:crypto'
import { beforeEach, describe, expect, test } from 'vitest'
import { fromBase64 } from '../../core/bytes.ts'
import { softwareHsm, softwareSealer } from '../testing/software-hsm.ts'
import { MemoryCertificateStore } from '../testing/memory-stores.ts'
import { cardCertificates } from './card-certificates.ts'
import { type CertificateRecord, certificateRow } from './certificate.ts'

/** A certificate of a P-256 key, made with openssl: what stands in it does not matter here. */
const DER = fromBase64(
  [
    'MIIBczCCARmgAwIBAgIUE97xW1L9WgYpkBf5vfpa+6x+55swCgYIKoZIzj0EAwIwDzENMAsGA1UEAwwEY2FyZDAeFw0yNjExMjYwMjA5MTFaFw0zNjExMjMwMjA5MTFaMA8xDTALBgNVBAMMBGNhcm',
    'QwWTATBgcqhkjOPQIBBggqhkjOPQMBBwNCAATCxW6Kq8vp+5s8zICX+I1hD/k9aQV+3C/ppZWt/FjgcseJ4rv6SjusYvgwJ6ah8Ss5kwbx9Ici8HfYxRtKs52Fo1MwUTAdBgNVHQ4EFgQUM6tk4yiY',
    'XyXtVqJHM/FFLyoN31AwHwYDVR0jBBgwFoAUM6tk4yiYXyXtVqJHM/FFLyoN31AwDwYDVR0TAQH/BAUwAwEB/zAKBggqhkjOPQQDAgNIADBFAiEArENBvRG/hdcCifPFmb2xeGNCVPRRnDfoTbNFkX',
    '4r2a8CICA7npzudidAzNd1AEsmV+KvEWK8r8kAQWrWxEAQzPh7',
  ].join(''),
)

function world() {
  const sealer = softwareSealer()
  const certificates = new MemoryCertificateStore(sealer)
  const cards = cardCertificates({
    ...{ hsm: softwareHsm(sealer), sealer, certificates, now: () => new Date('2026-11-26T00:00:00Z'), random: randomBytes },
    ...{ organization: 'Gridseal', crlUrl: 'http://localhost' },
  })
  const put = async (cardId: string): Promise<CertificateRecord> => {
    const record: CertificateRecord = {
      ...{ serial: randomBytes(16).toString('hex'), version: 1, authority: 'cards', profile: 'card', subjectKind: 'card', subjectId: cardId },
      ...{ tbsSha256: randomBytes(32), notBefore: new Date('2026-01-01'), notAfter: new Date('2036-01-01'), state: 'issued', der: DER },
    }
    const [mac] = await sealer.macRows([certificateRow(record)])
    certificates.rows.set(record.serial, { record, sealed: { row: certificateRow(record), mac: mac ?? new Uint8Array() } })
    return record
  }
  return { sealer, certificates, cards, put }
}

let at: ReturnType<typeof world>
beforeEach(() => {
  at = world()
})

describe('certificates of cards, read together', () => {
  test('each row is checked once', async () => {
    const records = await Promise.all(['a', 'b', 'c'].map((id) => at.put(id)))
    const found = await Promise.all(['a', 'b', 'c', 'd'].map((id) => at.cards.find(id)))
    expect(found.map((one) => one?.serial)).toEqual([...records.map(({ serial }) => serial), undefined])
    expect(at.sealer.checked()).toBe(3)
  })

  test('an edited row is refused, and hinders no other', async () => {
    const [good, edited] = [await at.put('a'), await at.put('b')]
    const row = at.certificates.rows.get(edited.serial)
    if (row === undefined) throw new Error('it was put there')
    at.certificates.rows.set(edited.serial, { ...row, sealed: { ...row.sealed, mac: Buffer.alloc(16) } })
    const [first, second] = await Promise.allSettled([at.cards.find('a'), at.cards.find('b')])
    expect(first).toMatchObject({ status: 'fulfilled', value: { serial: good.serial } })
    expect(second).toMatchObject({ status: 'rejected', reason: { code: 'integrity-failed' } })
  })
})
