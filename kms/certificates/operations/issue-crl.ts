import { z } from 'zod'
import { base64url, sha256 } from '../../../core/bytes.ts'
import { Problem } from '../../../core/problem.ts'
import { digestRow } from '../../../core/row.ts'
import { operation } from '../../../policies/operation.ts'
import { type LocatedIssuer, locateIssuer, obstacleToIssuing } from '../authorities.ts'
import { assembleCrl, CRL_DAYS, type CrlRecord, crlEntry, encodeTbsCrl, type FoundCrl, type IssuedCrl, listedIn, NOTHING_LISTED, OVERLAP_MS } from '../crl.ts'
import type { FoundCertificate } from '../certificate.ts'
import type { CrlStore } from '../crl-store.ts'
import { AUTHORITIES, AUTHORITY_NAMES, type AuthorityName } from '../profile.ts'
import type { CertificateDeps } from './deps.ts'

/** What issuing CRLs needs. */
export interface CrlDeps extends Omit<CertificateDeps, 'callers' | 'cardFacts'> {
  readonly crls: CrlStore
  /** Numbers go on above it: an RFC 5280 5.2.3 number is used once, and lost entries of the log may have used some. */
  readonly crlNumberFloor: number
}

interface Planned {
  /** With the planned number and digest, as it is reserved. */
  readonly record: CrlRecord
  readonly next: Omit<IssuedCrl, 'digest'>
  readonly tbs: Uint8Array
}
interface Target {
  readonly authority: AuthorityName
  readonly issuer: LocatedIssuer | undefined
  readonly planned: Planned | undefined
}
interface Result {
  readonly record: CrlRecord
  readonly der: Uint8Array
}

/**
 * A full CRL of an authority (RFC 5280 5), in place of the one before it.
 *
 * What it lists: every entry of the list before it, as it stands there, and what was revoked since. The old list is our own signed word, held by a digest in
 * a MACed row; rows of certificates are edited more easily, and a replayed older row of one would un-revoke it. So no list ever drops an entry, and rows only
 * add to it, each after its MAC was checked. A row that is wrong stops the new list with `integrity-failed`; the old one stays, until somebody has looked.
 *
 * Order of durable effects: number and SHA-256 of the TBSCertList with the intent; then the signature; then the list with the outcome. A crash before the
 * last leaves a number that is burnt and a signature that nobody has; the next list takes the next number. So no number is ever on two lists.
 */
export const issueCrlOperation = (deps: CrlDeps) => {
  // A row of before, put back with its valid MAC, would give a number out again: as long as this process lives, it is found.
  const highest = new Map<AuthorityName, number>()
  return operation({
    name: 'kms.crl.issue',
    summary: 'Issues the certificate revocation list of an authority.',
    effect: 'durable',
    input: z.strictObject({ authority: z.enum(AUTHORITY_NAMES) }),
    output: z.object({ authority: z.enum(AUTHORITY_NAMES), number: z.int(), count: z.int() }),
    locate: async ({ authority }): Promise<Target> => {
      const [issuer, before] = await Promise.all([locateIssuer(authority, deps), deps.crls.find(authority)])
      return { authority, issuer, planned: issuer && (await plan(deps, { authority, located: issuer, before, above: highest.get(authority) ?? 0 })) }
    },
    uses: ({ authority }) => [{ action: 'sign', keyId: AUTHORITIES[authority] }],
    facts: ({ authority, planned }) => ({
      public: {
        authority,
        ...(planned === undefined ? {} : { number: planned.next.number, count: planned.next.count, tbsSha256: base64url(planned.record.plannedTbsSha256) }),
      },
    }),
    admit: ({ issuer }) => obstacleToIssuing(issuer, deps.now()),
    reserve: async (tx, target) => {
      const { record } = admitted(target)
      const row = await deps.crls.reserveCrl(tx, record)
      highest.set(target.authority, record.plannedNumber)
      return [digestRow(row)]
    },
    execute: async (permit, target): Promise<Result> => {
      const { record, next, tbs } = admitted(target)
      const key = AUTHORITIES[target.authority]
      const [signature] = await deps.hsm.signWithRoot(permit, key, [tbs])
      const der = assembleCrl(tbs, signature ?? new Uint8Array(), deps.hsm.rootPublicKey(key))
      return { der, record: { ...record, version: record.version + 1, issued: { ...next, digest: sha256(der) } } }
    },
    record: async (tx, _target, { record, der }) => ({ facts: { rows: [digestRow(await deps.crls.replaceCrl(tx, record, der))] } }),
    respond: ({ authority }, { record: { issued } }) => ({ authority, number: issued?.number ?? 0, count: issued?.count ?? 0 }),
  })
}

/** The list to be signed. Throws `integrity-failed` on a row or an old list that is not what the service wrote. */
async function plan(
  deps: CrlDeps,
  {
    authority,
    located: { found, issuer },
    before,
    above,
  }: { readonly authority: AuthorityName; readonly located: LocatedIssuer; readonly before: FoundCrl | undefined; readonly above: number },
): Promise<Planned> {
  await deps.sealer.assertRows([found.sealed, ...(before === undefined ? [] : [before.sealed])])
  const last = before?.record.issued
  const old = before && last ? listedIn(await readOld(deps, before), { authority, ...last }) : NOTHING_LISTED
  const second = new Date(Math.floor(deps.now().getTime() / 1000) * 1000)
  // A clock that was set back makes no list that is older than the one before it.
  const thisUpdate = last !== undefined && last.thisUpdate > second ? last.thisUpdate : second
  const revoked = await deps.certificates.listRevoked(authority, last && new Date(last.thisUpdate.getTime() - OVERLAP_MS))
  const added = await entriesOf(
    deps,
    authority,
    revoked.filter(({ serial }) => !old.serials.has(serial)).map(({ serial }) => serial),
  )
  const number = Math.max(before?.record.plannedNumber ?? 0, deps.crlNumberFloor) + 1
  if (number <= above) throw new Problem('integrity-failed', `The stored CRL of the ${authority} CA is older than one that was issued.`)
  const nextUpdate = new Date(thisUpdate.getTime() + CRL_DAYS * 86_400_000)
  const tbs = encodeTbsCrl({ issuer, number, thisUpdate, nextUpdate, entries: Buffer.concat([old.entries, ...added]) })
  const recentFrom = thisUpdate.getTime() - OVERLAP_MS
  return {
    tbs,
    next: {
      ...{ number, thisUpdate, nextUpdate, count: old.serials.size + added.length },
      recent: revoked.filter(({ revokedAt }) => revokedAt.getTime() >= recentFrom).length,
    },
    record: {
      authority,
      version: (before?.record.version ?? 0) + 1,
      plannedNumber: number,
      plannedTbsSha256: sha256(tbs),
      ...(last === undefined ? {} : { issued: last }),
    },
  }
}

async function readOld({ crls }: CrlDeps, { record: { authority, version } }: FoundCrl): Promise<Uint8Array> {
  const der = await crls.readDer(authority, version)
  if (der === undefined) throw new Problem('conflict', 'Another CRL of this authority was begun meanwhile.')
  return der
}

/** Rows of a page, two of which are in memory at a time: with their certificates about a kilobyte each. */
const PAGE = 1000

/** Entries of revoked certificates, each after its row was checked. Throws `integrity-failed` on a row that does not stand, or does not say what the index did. */
async function entriesOf({ certificates, sealer }: CrlDeps, authority: AuthorityName, serials: readonly string[]): Promise<Uint8Array[]> {
  const entries: Uint8Array[] = []
  const read = async (from: number): Promise<FoundCertificate[]> => {
    const page = await Promise.all(serials.slice(from, from + PAGE).map((serial) => certificates.findBySerial(serial)))
    return page.filter((one) => one !== undefined)
  }
  let page = await read(0)
  for (let from = PAGE; page.length > 0; from += PAGE) {
    // The next page is read while the token checks this one.
    const [next] = await Promise.all([read(from), sealer.assertRows(page.map(({ sealed }) => sealed))])
    for (const { record } of page) if (record.authority === authority && record.state === 'revoked') entries.push(crlEntry(record))
    page = next
  }
  if (entries.length !== serials.length) throw new Problem('integrity-failed', `Certificates of the ${authority} CA changed while they were read.`)
  return entries
}

function admitted({ planned }: Target): Planned {
  if (planned === undefined) throw new Error('the operation was admitted without its target')
  return planned
}
