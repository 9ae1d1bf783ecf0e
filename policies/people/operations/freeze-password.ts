import { z } from 'zod'
import { found } from '../../../core/found.ts'
import { Problem } from '../../../core/problem.ts'
import { digestRow } from '../../../core/row.ts'
import { type Operation, operation } from '../../operation.ts'
import { type PasswordRecord, passwordRow } from '../credentials.ts'
import type { Deps } from '../deps.ts'
import { PERSON_ID } from '../view.ts'

interface Target {
  readonly personId: string
  readonly password: PasswordRecord | undefined
}

/** Only who has the password can bring this about: whoever does not cannot lock anybody out. */
export const freezePassword = ({ credentials }: Pick<Deps, 'credentials'>): Operation<{ personId: string }, Target, PasswordRecord, { frozen: boolean }> =>
  operation({
    name: 'policies.password.freeze',
    summary: 'Makes a password useless after too many wrong codes with it: somebody knows it who does not have the codes. A ticket ends it.',
    effect: 'durable',
    input: z.strictObject({ personId: PERSON_ID }),
    output: z.strictObject({ frozen: z.boolean() }),
    locate: async ({ personId }) => ({ personId, password: await credentials.findPassword(personId) }),
    uses: () => [],
    facts: ({ personId }) => ({ public: { personId } }),
    admit: ({ password }) => (password?.state === 'active' ? undefined : new Problem('conflict', 'The password is not in use.')),
    execute: (_permit, { password }) => {
      const standing = found(password)
      return Promise.resolve({ ...standing, state: 'frozen' as const, version: standing.version + 1 })
    },
    record: async (tx, _target, password) => {
      await credentials.putPassword(tx, password)
      return { facts: { rows: [digestRow(passwordRow(password))] } }
    },
    respond: () => ({ frozen: true }),
  })
