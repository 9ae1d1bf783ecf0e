import { createPublicKey, randomBytes, X509Certificate } from 'node:crypto'
import { newUuid } from '../core/ids.ts'
import { Problem } from '../core/problem.ts'
import type { RowSealer, SealedRow } from '../core/row.ts'
import type { SealedTable } from '../core/sealed-table.ts'
import type { Sql } from '../core/tx.ts'
import type { Ciphers, Hsm, TokenIdentity, TokenKeys } from '../pkcs11/index.ts'
import { systemCaller } from '../policies/caller.ts'
import { type Gate, perform } from '../policies/gate.ts'
import type { AnyOperation } from '../policies/operation.ts'
import { chainPem, loadChain } from './certificates/authorities.ts'
import { type CardCertificates, cardCertificates } from './certificates/card-certificates.ts'
import type { SubjectKind } from './certificates/certificate.ts'
import { certificateTable, PgCertificateStore } from './certificates/certificate-store.pg.ts'
import { CrlJob } from './certificates/crl-job.ts'
import { crlTable, PgCrlStore } from './certificates/crl-store.pg.ts'
import { crlReader, type ServedCrl } from './certificates/crls.ts'
import { parseCsr } from './certificates/csr.ts'
import { certificatePem } from './certificates/issuing.ts'
import type { CertificateDeps } from './certificates/operations/deps.ts'
import { establishAuthoritiesOperation } from './certificates/operations/establish-authorities.ts'
import { getAuthorityOperation } from './certificates/operations/get-authority.ts'
import { getCertificateOperation } from './certificates/operations/get-certificate.ts'
import { issueCertificateOperation } from './certificates/operations/issue-certificate.ts'
import { issueCrlOperation } from './certificates/operations/issue-crl.ts'
import { issueServiceCertificateOperation } from './certificates/operations/issue-service-certificate.ts'
import { revokeCertificateOperation } from './certificates/operations/revoke-certificate.ts'
import { AUTHORITY_NAMES, type AuthorityName, type ServicePurpose } from './certificates/profile.ts'
import { keyTable, PgKeyStore } from './keys/key-store.pg.ts'
import { attestKeyOperation } from './keys/operations/attest-key.ts'
import { decryptOperation } from './keys/operations/decrypt.ts'
import { encryptOperation } from './keys/operations/encrypt.ts'
import { generateKeyOperation } from './keys/operations/generate-key.ts'
import { getKeyOperation } from './keys/operations/get-key.ts'
import { listKeysOperation } from './keys/operations/list-keys.ts'
import { signOperation } from './keys/operations/sign.ts'
import { verifyOperation } from './keys/operations/verify.ts'

export type { CardCertificate, CardCertificates, CardSubject, IssuedCardCertificates, PlannedCardCertificates } from './certificates/card-certificates.ts'
export { highestCrlNumber } from './certificates/crl-store.pg.ts'
export { parseCsr } from './certificates/csr.ts'
export type { ServedCrl } from './certificates/crls.ts'
export type { Registration } from './certificates/operations/deps.ts'

export interface KmsDeps {
  readonly hsm: Hsm & Ciphers & TokenKeys
  /** Which token statements of keys name. */
  readonly token: Pick<TokenIdentity, 'serial' | 'label'>
  readonly sealer: RowSealer
  readonly sql: Sql
  readonly callers: CertificateDeps['callers']
  /** What policies see of a card, by its id. Default: nothing, as of a card that is not known. */
  readonly cardFacts?: CertificateDeps['cardFacts']
  /** The O of every name in certificates. Default `Gridseal`. */
  readonly organization?: string
  /** Base URL below which verifiers find the CRLs, without a slash at its end. Absent: certificates name no CRL. */
  readonly crlUrl?: string | undefined
  /** See {@link CrlDeps}. */
  readonly crlNumberFloor?: number
  /** Through which the CRL job goes. Absent: it does nothing. */
  readonly gate?: Gate | undefined
  /** Told of every failure of the CRL job. */
  readonly onCrlFailure?: (problem: Problem, authority: AuthorityName) => void
  /** How often the CRL job looks without being woken. Default 3000. */
  readonly crlPollMs?: number
  readonly now?: () => Date
  readonly newId?: () => string
  readonly random?: (bytes: number) => Uint8Array
}

/** What a client certificate says about who holds it. Its row's MAC has been checked. */
export interface ClientCertificate {
  readonly serial: string
  /** Id of the registration. */
  readonly callerId: string
  readonly state: 'issued' | 'revoked'
  readonly notBefore: Date
  readonly notAfter: Date
  readonly sealed: SealedRow
}

export interface Certificates {
  /**
   * A client certificate of the callers' CA, by its SHA-256, hex; `undefined` for any other. Cheap: the reads of one turn of the event loop share one statement,
   * so that a caller with many open connections asks for all of them at once, as often as it likes. Throws `integrity-failed` on a row that was edited.
   */
  findByFingerprint(fingerprint: string): Promise<ClientCertificate | undefined>
  /** The certificate of the authority and those above it, PEM; `undefined` before it is established. */
  chainPem(name: AuthorityName): Promise<string | undefined>
  /** The certificate of a key that the service signs with, and the root's, DER. Throws `internal` before they are issued. */
  serviceChain(purpose: ServicePurpose): Promise<readonly Uint8Array[]>
  /** Whether all authorities have certificates. */
  isEstablished(): Promise<boolean>
  /** A caller's certificate that is not revoked, PEM, and whether its public key is the one of a request (PKCS#10, PEM). */
  findClient(callerId: string, csr: string): Promise<{ readonly certificate: string; readonly isOfRequest: boolean } | undefined>
  /** The service's own certificate for a purpose, the one that ends last and is not revoked. It may have ended. */
  findService(purpose: 'tls-server' | ServicePurpose): Promise<{ readonly serial: string; readonly certificate: string; readonly notAfter: Date } | undefined>
}

export interface KmsFeature {
  /** With routes. */
  readonly operations: readonly AnyOperation[]
  /** Performed by the service itself. */
  readonly systemOperations: {
    readonly establish: ReturnType<typeof establishAuthoritiesOperation>
    readonly issueServiceCertificate: ReturnType<typeof issueServiceCertificateOperation>
    readonly issueCrl: ReturnType<typeof issueCrlOperation>
  }
  /** Its tables whose rows bear MACs. */
  readonly sealedTables: readonly SealedTable[]
  readonly certificates: Certificates
  readonly cardCertificates: CardCertificates
  /** The authority's CRL; undefined before there is one. Throws `integrity-failed` on one that is not what was issued. */
  findCrl(authority: AuthorityName): Promise<ServedCrl | undefined>
  /** Keeps the CRLs fresh, as the caller `system:crl`. Start it once the authorities are established. */
  readonly crlJob: Pick<CrlJob, 'start' | 'wake' | 'stop'>
}

/** Keys and certificates. */
export function kmsFeature({
  hsm,
  token,
  sealer,
  sql,
  callers,
  cardFacts = () => Promise.resolve({}),
  organization = 'Gridseal',
  crlUrl,
  crlNumberFloor = 0,
  gate,
  onCrlFailure,
  crlPollMs,
  now = () => new Date(),
  newId = () => newUuid(),
  random = randomBytes,
}: KmsDeps): KmsFeature {
  const keys = new PgKeyStore(sql, sealer)
  const certificates = new PgCertificateStore(sql, sealer)
  const deps: CertificateDeps = { hsm, sealer, certificates, callers, cardFacts, now, random, organization, crlUrl }
  const crlDeps = { ...deps, crls: new PgCrlStore(sql, sealer), crlNumberFloor }
  const issueCrl = issueCrlOperation(crlDeps)
  const crls = crlReader(crlDeps)
  const crlJob = new CrlJob({
    authorities: gate === undefined ? [] : AUTHORITY_NAMES,
    isDue: (authority) => crls.isDue(authority),
    issue: async (authority) => {
      if (gate === undefined) throw new Problem('internal', 'CRLs are issued through the gate, and there is none.')
      await perform(gate, issueCrl, { caller: systemCaller('crl'), body: { authority } })
    },
    ...(onCrlFailure === undefined ? {} : { onFailure: onCrlFailure }),
    ...(crlPollMs === undefined ? {} : { pollMs: crlPollMs }),
  })
  const loadCurrent = async (kind: SubjectKind, id: string) => {
    const found = await certificates.findCurrent(kind, id)
    if (found !== undefined) await sealer.assertRows([found.sealed])
    return found?.record
  }
  const serviceChain = async (purpose: ServicePurpose): Promise<Uint8Array[]> => {
    const [own, root] = await Promise.all([loadCurrent('service', purpose), loadCurrent('authority', 'root')])
    if (own?.der === undefined || root?.der === undefined)
      throw new Problem('internal', `The ${purpose} key has no certificate yet. Start the service once more.`)
    return [own.der, root.der]
  }
  return {
    operations: [
      generateKeyOperation({ hsm, keys, now, newId }),
      getKeyOperation({ keys, sealer }),
      listKeysOperation({ keys, sealer }),
      signOperation({ hsm, keys, sealer }),
      verifyOperation({ hsm, keys, sealer }),
      encryptOperation({ hsm, keys, sealer }),
      decryptOperation({ hsm, keys, sealer }),
      attestKeyOperation({ ...{ hsm, keys, sealer, token, now }, chain: () => serviceChain('statement') }),
      issueCertificateOperation(deps),
      getCertificateOperation(deps),
      revokeCertificateOperation({ ...deps, onRevoked: () => crlJob.wake() }),
      getAuthorityOperation(deps),
    ],
    systemOperations: { establish: establishAuthoritiesOperation(deps), issueServiceCertificate: issueServiceCertificateOperation(deps), issueCrl },
    sealedTables: [keyTable(sql), certificateTable(sql), crlTable(sql)],
    cardCertificates: cardCertificates(deps),
    findCrl: (authority) => crls.find(authority),
    crlJob,
    certificates: {
      findByFingerprint: async (fingerprint) => {
        const found = await certificates.findByFingerprint(fingerprint)
        if (found === undefined) return undefined
        const { record, sealed } = found
        if (record.authority !== 'callers' || record.subjectKind !== 'caller' || record.state === 'reserved') return undefined
        await sealer.assertRows([sealed])
        return { serial: record.serial, callerId: record.subjectId, state: record.state, notBefore: record.notBefore, notAfter: record.notAfter, sealed }
      },
      chainPem: async (name) => {
        const chain = await loadChain(name, deps)
        return chain.length === 0 ? undefined : chainPem(chain)
      },
      serviceChain,
      isEstablished: async () => (await Promise.all(AUTHORITY_NAMES.map((name) => loadCurrent('authority', name)))).every((one) => one !== undefined),
      findClient: async (callerId, csr) => {
        const [record, request] = await Promise.all([loadCurrent('caller', callerId), parseCsr(csr)])
        if (record?.der === undefined) return undefined
        const isOfRequest =
          request.kind !== 'fault' &&
          createPublicKey({ key: Buffer.from(request.spki), format: 'der', type: 'spki' }).equals(new X509Certificate(record.der).publicKey)
        return { certificate: certificatePem(record.der), isOfRequest }
      },
      findService: async (purpose) => {
        const record = await loadCurrent('service', purpose)
        return record && { serial: record.serial, certificate: certificatePem(record.der ?? new Uint8Array()), notAfter: record.notAfter }
      },
    },
  }
}
