import { z } from 'zod'
import { hex, sha256, utf8 } from '../../../core/bytes.ts'
import { found } from '../../../core/found.ts'
import { Problem } from '../../../core/problem.ts'
import { encodeBackup, type TokenBackup } from '../../../pkcs11/index.ts'
import type { Caller } from '../../../policies/caller.ts'
import { byAnotherOfficer, type Operation, operation } from '../../../policies/operation.ts'
import type { Deps } from './deps.ts'
import { officersOnly, REASON } from './views.ts'

interface Target {
  readonly caller: Caller
  readonly reason: string
  readonly backup: TokenBackup | undefined
  /** Ids of keys that live in the token and are not in it. */
  readonly missing: readonly string[]
}

const EXPORTED = z
  .strictObject({
    backup: z.string().meta({ description: 'The backup file, as `gridseal token restore` takes it. Ciphertext: only the recipient’s token opens it.' }),
    sha256: z.string().meta({ description: 'SHA-256 of the backup in UTF-8, hex, as the log has it.' }),
    missing: z.array(z.string()).meta({ description: 'Ids of keys that have no backup: they are lost with their token.' }),
  })
  .meta({ id: 'TokenBackup', description: 'The keys of the token, encrypted for the token that can restore it.' })

type Exported = z.infer<typeof EXPORTED>

/** No key is used: the rows have been under the recipient’s key since the keys were made. Each MAC is checked. */
export const exportBackup = ({ backups, now }: Pick<Deps, 'backups' | 'now'>): Operation<{ reason: string }, Target, Exported, Exported> =>
  operation({
    name: 'kms.root-key.export-backup',
    summary: 'Exports the backup of the token’s keys, which only the recipient’s token opens. Held until another officer has approved it.',
    effect: 'durable',
    route: { method: 'POST', path: '/v1/kms/root-keys/backup' },
    input: z.strictObject({ reason: REASON }),
    output: EXPORTED,
    locate: async ({ reason }, caller) => {
      const backup = await backups.load()
      return { caller, reason, backup, missing: backup === undefined ? [] : await backups.unsaved(backup.kek.backup.kek) }
    },
    uses: () => [],
    facts: ({ reason, backup, missing }) => ({
      public: backup === undefined ? {} : { ...backupFacts(backup), missing: missing.length },
      // What people write may name people.
      personal: { reason },
    }),
    admit: ({ caller, backup }) =>
      officersOnly(caller) ??
      (backup === undefined ? new Problem('not-found', 'There is no backup of this token: its keys were made without a recipient.') : undefined),
    leastHold: () => byAnotherOfficer(24),
    execute: (_permit, { backup, missing }) => {
      const text = encodeBackup(found(backup), now().toISOString())
      return Promise.resolve({ backup: text, sha256: hex(sha256(utf8(text))), missing: [...missing] })
    },
    record: (_tx, _target, { sha256: digest }) => Promise.resolve({ facts: { public: { sha256: digest } } }),
    respond: (_target, exported) => exported,
  })

/** What policy and log see of a backup: whose keys, under which backup KEK, for whom, how many. */
export const backupFacts = ({ kek: { backup: kek }, keys }: TokenBackup) => ({
  token: kek.tokenSerial,
  kek: hex(kek.kek),
  recipient: hex(kek.recipient),
  keys: keys.length,
})
