import type { Logger } from 'pino'
import { systemCaller } from '../policies/caller.ts'
import { PolicyError } from '../policies/firewall/index.ts'
import { type Config, ConfigError } from './config.ts'
import type { Features } from './features.ts'
import { isPolicyOf, loadPolicyFile } from './policy-file.ts'

/**
 * Puts the policy in force to work, and makes what is missing, which at the first start is all: policy, authorities, certificates of the service's own keys, what
 * people and cards need. Each of these is done whole or found missing by the next start.
 */
export async function establish(features: Features, { config, logger }: { readonly config: Config; readonly logger: Logger }): Promise<void> {
  const { kms, people, cards, attestation, performSystem } = features
  const start = systemCaller('start')
  await establishPolicy(features, { config, logger })
  if (!(await kms.certificates.isEstablished())) await performSystem(start, 'kms.authority.establish', {})
  for (const purpose of ['delivery', 'statement'] as const) {
    if ((await kms.certificates.findService(purpose)) === undefined) await performSystem(start, 'kms.service-certificate.issue', { purpose })
  }
  await people.adoptRegistrations()
  await cards.establishProfiles()
  await attestation.establish()
}

/** The file is the first policy; from then on what two officers have activated counts. Throws a {@link ConfigError} where this version cannot read that. */
async function establishPolicy(
  { revisions, sharing, operations, decideBy, performSystem }: Features,
  { config, logger }: { readonly config: Config; readonly logger: Logger },
): Promise<void> {
  const established = await revisions.activations.latest()
  if (established === undefined) {
    const shipped = loadPolicyFile(config.policy, operations)
    decideBy(shipped.decide)
    await performSystem(systemCaller('start'), 'policies.revision.establish', { text: shipped.text })
  } else if (!isPolicyOf(config.policy, established.revision)) {
    logger.warn({ file: config.policy, revision: established.revision }, 'the policy file is not the policy in force: it changes by gridseal policy propose')
  }
  await revisions.keeper.refresh().catch((error: unknown) => {
    if (!(error instanceof PolicyError)) throw error
    throw new ConfigError(
      `The policy in force cannot be read by this version: ${error.message}\nStart the version that it ran on, and change it there first: gridseal policy propose (docs/policy-revisions.md).`,
    )
  })
  decideBy((asked) => revisions.keeper.decide(asked))
  revisions.keeper.start()
  sharing.start()
}
