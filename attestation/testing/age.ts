import { fromBase64url } from '../../core/bytes.ts'
import { challengeRow } from '../challenge.ts'
import { PgChallengeStore } from '../challenge-store.pg.ts'
import type { Attester } from './attester.ts'

/** Moves a challenge into the past, MAC and all: as if so much time had gone by. */
export async function age({ db, soft }: Attester, challengeId: string, byMs: number): Promise<void> {
  const nonce = fromBase64url(challengeId)
  const challenge = await new PgChallengeStore({ sql: db.ownerSql, sealer: soft.sealer }).find(nonce)
  if (challenge === undefined) throw new Error('no such challenge')
  const [issuedAt, expiresAt] = [new Date(challenge.issuedAt.getTime() - byMs), new Date(challenge.expiresAt.getTime() - byMs)]
  await db.ownerSql.query('UPDATE attestation_nonces SET issued_at = $2, expires_at = $3, mac = $4 WHERE nonce = $1', [
    ...[nonce, issuedAt, expiresAt, soft.macOf(challengeRow({ ...challenge, issuedAt, expiresAt }))],
  ])
}
