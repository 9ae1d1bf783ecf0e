import { ApiProblem } from '../../clients/api.ts'
import { mirror, MirrorError } from '../../clients/audit-mirror.ts'
import { MAX_BUNDLE_BYTES } from '../../clients/audit-source.ts'
import { CliError } from './cli-error.ts'
import { readWitnessPolicy } from './audit.ts'
import { readKeys } from './log-keys.ts'
import { showProgress } from './progress.ts'
import { assertReach, type ReachOptions, withClient } from './with-client.ts'

export interface MirrorOptions extends ReachOptions {
  /** Verifier keys of the log, or files that hold one, in the order in which they signed. */
  readonly logKey: readonly string[]
  /** A file of C2SP tlog-policy. */
  readonly witnessPolicy?: string
}

/** Brings the folder up to the service's log, and prints how far it goes. Throws a {@link CliError} where the log is not what it was. */
export async function mirrorCommand(folder: string, { logKey, witnessPolicy, ...options }: MirrorOptions): Promise<void> {
  assertReach(options)
  const policy = witnessPolicy === undefined ? undefined : readWitnessPolicy(witnessPolicy)
  const progress = showProgress('entries')
  try {
    const { from, to } = await withClient(options, (client) =>
      mirror({
        folder,
        keys: readKeys(logKey),
        ...(policy === undefined ? {} : { policy }),
        onProgress: progress.add,
        log: {
          checkpoint: () => client.get<{ note: string; witnessed?: string }>('/v1/policies/audit/checkpoint'),
          bundles: (index, count, width) =>
            client.download(`/v1/policies/audit/bundles/${index}?count=${count}&width=${width}`, { most: count * MAX_BUNDLE_BYTES }),
        },
      }).catch((error: unknown) => {
        if (error instanceof ApiProblem && error.code === 'archived')
          throw new CliError(`${error.detail} Copy the archive into ${folder} first: it goes on from there.`)
        throw error instanceof MirrorError ? new CliError(error.message) : error
      }),
    )
    progress.end()
    console.log(`MIRRORED: ${to} entries, ${to - from} of them new, in ${folder}`)
  } finally {
    progress.end()
  }
}
