import { z } from 'zod'
import { keyId, type KeyId, newUuid } from '../../core/ids.ts'
import { Problem } from '../../core/problem.ts'
import { type Operation, operation } from '../../policies/operation.ts'
import { findProfile, type ProfileId } from '../profile.ts'
import type { NewProfile } from '../profile-store.ts'
import type { Deps } from './deps.ts'
import { found } from '../../core/found.ts'

interface Input {
  readonly profile: string
}
interface Target {
  readonly profile: ProfileId | undefined
  readonly exists: boolean
  readonly masterId: KeyId
  readonly operatorKeyId: KeyId
}

export const establishProfile = ({ hsm, profiles, now }: Pick<Deps, 'hsm' | 'profiles' | 'now'>): Operation<Input, Target, NewProfile, { profile: string }> =>
  operation({
    name: 'card-personalization.profile.establish',
    summary: 'Makes the card master and the operator’s key of a profile, by ceremony. Once.',
    effect: 'durable',
    input: z.strictObject({ profile: z.string().max(64) }),
    output: z.strictObject({ profile: z.string() }),
    locate: async (input) => {
      const profile = findProfile(input.profile)?.id
      const exists = profile !== undefined && (await profiles.find(profile)) !== undefined
      return { profile, exists, masterId: keyId(`master:${newUuid()}`), operatorKeyId: keyId(`operator:${newUuid()}`) }
    },
    uses: ({ masterId, operatorKeyId }) => [
      { action: 'ceremony', keyId: masterId },
      { action: 'generate', keyId: operatorKeyId },
    ],
    facts: ({ profile, masterId, operatorKeyId }) => ({ public: { profile: profile ?? 'unknown', master: masterId, operatorKey: operatorKeyId } }),
    admit: ({ profile, exists }) => {
      if (profile === undefined) return new Problem('not-found', 'There is no profile of that name.')
      return exists ? new Problem('conflict', 'The profile stands already.') : undefined
    },
    execute: async (permit, { profile, masterId, operatorKeyId }) => {
      const { wrapped } = await hsm.generate(permit, operatorKeyId, 'aes-128')
      const { k1, katKcv, backup } = await hsm.makeCardMaster(permit, masterId)
      return {
        ...{ id: found(profile), masterId, k1, katKcv, operatorKeyId, wrappedOperatorKey: wrapped, establishedAt: now().toISOString() },
        ...(backup === undefined ? {} : { backup }),
      }
    },
    record: async (tx, _target, profile) => ({ facts: { rows: await profiles.insert(tx, profile) } }),
    respond: (_target, profile) => ({ profile: profile.id }),
  })
