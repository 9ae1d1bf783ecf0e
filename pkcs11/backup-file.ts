import { z } from 'zod'
import { base64, equalBytes, fromBase64, fromHex, hex, sha256, utf8 } from '../core/bytes.ts'
import { keyId } from '../core/ids.ts'
import { Problem } from '../core/problem.ts'
import { algorithmOf, isKekBackup, type KekBackup, type KeyBackup, type Sealed } from './key-backup.ts'
import { SYSTEM_KEYS } from './root-keys.ts'

/** The keys of a token under its backup KEK, and that encrypted for one recipient: useless without the recipient's token. */
export interface TokenBackup {
  readonly kek: Sealed<KekBackup>
  readonly keys: readonly Sealed<KeyBackup>[]
}

/** The last KEK of all backups, and the keys under it. Throws `not-found` where there is none. */
export function backupOf(backups: readonly Sealed<KekBackup | KeyBackup>[]): TokenBackup {
  const kek = backups.findLast((one): one is Sealed<KekBackup> => isKekBackup(one.backup))
  if (kek === undefined) throw new Problem('not-found', 'There is no backup of this token: its keys were made without a recipient.')
  const isUnderIt = (one: Sealed<KekBackup | KeyBackup>): one is Sealed<KeyBackup> => !isKekBackup(one.backup) && equalBytes(one.backup.kek, kek.backup.kek)
  return { kek, keys: backups.filter(isUnderIt) }
}

const FORMAT = 'gridseal-token-backup-v1'

const bytes = z
  .string()
  .regex(/^[A-Za-z0-9+/]*={0,2}$/)
  .transform(fromBase64)
const hexadecimal = z
  .string()
  .regex(/^([0-9a-f]{2})+$/)
  .transform(fromHex)
const wrapped = { tokenSerial: z.string().min(1), wrapped: bytes, mac: bytes }
const BODY = z.strictObject({
  format: z.literal(FORMAT),
  /** When the file was written, RFC 3339. */
  madeAt: z.string(),
  /** Check value of the backup KEK (`aes-kwp`), which names it. */
  kek: hexadecimal,
  recipient: z.strictObject({ fingerprint: hexadecimal, ...wrapped }),
  keys: z.array(
    z.union([
      z.strictObject({
        id: z.string(),
        kcv: z.strictObject({ method: z.enum(['aes-kwp', 'aes-cmac', 'kdf3-aes-gp', 'hmac-sha256']), value: hexadecimal }),
        ...wrapped,
      }),
      z.strictObject({ id: z.string(), publicKey: bytes, ...wrapped }),
    ]),
  ),
})

/** The digest finds a file that was damaged; one that was changed on purpose is found by the MACs of its rows, when it is restored. */
export function encodeBackup({ kek, keys }: TokenBackup, madeAt: string): string {
  const own = ({ backup, mac }: Sealed<KekBackup | KeyBackup>) => ({ tokenSerial: backup.tokenSerial, wrapped: base64(backup.wrapped), mac: base64(mac) })
  const body = {
    format: FORMAT,
    madeAt,
    kek: hex(kek.backup.kek),
    recipient: { fingerprint: hex(kek.backup.recipient), ...own(kek) },
    keys: keys.map((key) => {
      const { backup } = key
      const check =
        backup.algorithm === 'ec-p256' ? { publicKey: base64(backup.publicKey) } : { kcv: { method: backup.kcv.method, value: hex(backup.kcv.value) } }
      return { id: backup.keyId, ...check, ...own(key) }
    }),
  }
  return `${JSON.stringify({ ...body, sha256: digestOf(body) }, undefined, 2)}\n`
}

/** Throws the problem `request-invalid`. */
export function parseBackup(text: string): TokenBackup {
  const { sha256: digest, ...body } = readJson(text)
  const parsed = BODY.safeParse(body)
  if (!parsed.success) throw new Problem('request-invalid', 'The file is not a backup of a token, or it is one of another version.')
  if (digest !== digestOf(body)) throw new Problem('request-invalid', 'The backup is damaged: its digest is not that of its content. Take another copy of it.')
  const { kek, recipient, keys } = parsed.data
  return {
    kek: {
      mac: recipient.mac,
      backup: {
        keyId: SYSTEM_KEYS.backupKek,
        algorithm: 'aes-256',
        kek,
        recipient: recipient.fingerprint,
        tokenSerial: recipient.tokenSerial,
        wrapped: recipient.wrapped,
      },
    },
    keys: keys.map(({ mac, id, ...key }) => {
      const common = { keyId: keyId(id), kek, tokenSerial: key.tokenSerial, wrapped: key.wrapped }
      return {
        mac,
        backup:
          'kcv' in key ? { ...common, algorithm: algorithmOf(key.kcv.method), kcv: key.kcv } : { ...common, algorithm: 'ec-p256', publicKey: key.publicKey },
      }
    }),
  }
}

const digestOf = (body: object): string => hex(sha256(utf8(JSON.stringify(body))))

function readJson(text: string): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(text)
    if (typeof value === 'object' && value !== null) return value as Record<string, unknown>
  } catch {
    // Told below, as any other text that is none.
  }
  throw new Problem('request-invalid', 'The file is not a backup of a token.')
}
