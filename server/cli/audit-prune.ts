import { checkpointKeyOf, identityFault, TokenCeremonies } from '../../pkcs11/ceremonies.ts'
import { PgRootKeyStore } from '../../pkcs11/root-key-store.pg.ts'
import { loadRecoveries } from '../../policies/audit/index.ts'
import type { Config } from '../config.ts'
import { faultsOf } from '../crash-at.ts'
import { PruneError, pruneLog } from './log-pruning.ts'
import { tokenOptions } from '../token-options.ts'
import { loadAdoptions, logKeyOf, originAfter, replacedKeys } from '../token-succession.ts'
import { currentRowMac, sealerOf, sound } from './ceremony-token.ts'
import { CliError } from './cli-error.ts'
import { withDatabase } from './stopped-service.ts'
import { decisionOn, parseIndex } from './token-authorisation.ts'

export interface PruneOptions {
  readonly config: Config
  readonly before: string
  /** Folder or URL of a tlog-tiles log. */
  readonly archive: string
}

/** Prunes the log by two officers' decision, which the token in use seals. See {@link pruneLog}. */
export async function pruneCommand({ config, before: text, archive }: PruneOptions): Promise<void> {
  const before = parseIndex(text)
  const ceremonies = new TokenCeremonies(tokenOptions(config))
  const { identity } = sound(await ceremonies.show())
  await withDatabase(
    config,
    async (sql) => {
      const store = new PgRootKeyStore(sql)
      const known = await store.load()
      const fault = identityFault({ serial: known[0]?.tokenSerial ?? '', keys: known, ...(await store.changing()) }, identity)
      if (fault !== undefined) throw new CliError(`${fault} Nothing was pruned.`)
      const sealer = sealerOf(ceremonies, await currentRowMac(store))
      const history = { adoptions: await loadAdoptions(store, sealer), recoveries: await loadRecoveries(sql, sealer) }
      const { adoptions } = history
      const decide = async () => {
        const token = identity.serial
        const decision = await decisionOn({ sql, ceremonies, sealer, adoptions, ceremony: 'prune-log', token, before, serviceCannotRun: false })
        if (decision === undefined) throw new Error('nobody decided on the prune')
        return decision
      }
      await pruneLog({
        ...{ sql, sealer, archive, before, decide, faults: faultsOf(config), receivers: config.syslog.map(({ name }) => name) },
        key: logKeyOf(originAfter(config.origin, history), checkpointKeyOf(identity.keys)),
        replaced: replacedKeys(config.origin, history),
      }).catch((error: unknown) => {
        throw error instanceof PruneError ? new CliError(error.message) : error
      })
    },
    { migrated: false },
  )
  console.log(`PRUNED: entries before ${before} are in the archive alone. Keep it, and more than one copy of it.`)
}
