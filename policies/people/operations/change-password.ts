import { z } from 'zod'
import { found } from '../../../core/found.ts'
import { Problem } from '../../../core/problem.ts'
import { digestRow } from '../../../core/row.ts'
import type { Caller } from '../../caller.ts'
import { type Operation, operation } from '../../operation.ts'
import { type Account, loadAccount } from '../account.ts'
import { type OtpRecord, otpRow, type PasswordRecord, passwordRow } from '../credentials.ts'
import type { Deps } from '../deps.ts'
import { assertMayTry, LOGIN_FAILED, prove } from '../login.ts'
import type { Budget } from '../login-budgets.ts'
import type { Attempt } from '../login-throttle.ts'
import { normalised, passwordFault } from '../password-rules.ts'
import { PASSWORD, TOTP_CODE } from '../view.ts'
import { notAPerson } from './session-target.ts'
import { SERVICE_NAMES } from './set-password.ts'

interface Input {
  readonly password: string
  readonly newPassword: string
  readonly code: string
}
interface Target {
  readonly input: Input
  readonly caller: Caller
  readonly account: Account | undefined
  readonly attempt: Attempt
  readonly shared: readonly Budget[]
  readonly at: Date
}
interface Changed {
  readonly password: PasswordRecord
  readonly otp: OtpRecord
}
const OUTPUT = z.strictObject({ changed: z.literal(true) }).meta({ id: 'PasswordChanged', description: 'Every session has ended: log in again.' })

/** Asks for all that a login asks for: a session that somebody else got hold of changes no password. */
export const changePassword = (
  deps: Pick<Deps, 'persons' | 'callers' | 'credentials' | 'check' | 'hasher' | 'secrets' | 'throttle' | 'budgets' | 'freeze' | 'random' | 'now'>,
): Operation<Input, Target, Changed, z.infer<typeof OUTPUT>> =>
  operation({
    name: 'policies.password.change',
    summary: 'Changes one’s own password, by the old one and a one-time code. All one’s sessions end, this one too.',
    effect: 'durable',
    route: { method: 'POST', path: '/v1/policies/password/change', maxBodyBytes: 4096, access: 'self', session: 'closes' },
    input: z.strictObject({ password: PASSWORD, newPassword: PASSWORD.meta({ description: 'The new one: 12 to 128 characters.' }), code: TOTP_CODE }),
    output: OUTPUT,
    locate: async (input, caller) => {
      const name = caller.person?.name ?? ''
      const device = caller.session === undefined ? {} : { device: `session ${caller.session}` }
      const attempt = { name, address: caller.address ?? 'unknown', ...device }
      const shared = await assertMayTry(deps, attempt)
      return { input, caller, account: (await loadAccount(deps, name)).account, attempt, shared, at: deps.now() }
    },
    uses: () => [],
    facts: ({ caller }) => ({ public: caller.person === undefined ? {} : { personId: caller.person.id } }),
    admit: ({ input, caller, account }) => {
      const nobody = notAPerson(caller)
      if (nobody !== undefined) return nobody
      if (account === undefined) return new Problem('conflict', 'You have no password in use. An officer gives out a ticket for setting one.')
      if (normalised(input.newPassword) === normalised(input.password)) return new Problem('password-weak', 'It is the old one.')
      const fault = passwordFault(input.newPassword, [account.person.name, ...SERVICE_NAMES])
      return fault === undefined ? undefined : new Problem('password-weak', fault)
    },
    execute: async (_permit, { input, account: tried, attempt, shared, at }) => {
      const { account, otp } = await prove(deps, { account: tried, attempt, shared, proof: input, at })
      const salt = deps.random(16)
      const digest = await deps.hasher.hash(input.newPassword, { personId: account.person.id, salt })
      return { otp, password: { ...account.password, salt, digest, cost: deps.hasher.cost, setAt: at, version: account.password.version + 1 } }
    },
    record: async (tx, target, { password, otp }) => {
      found(target.account)
      await deps.credentials.putOtp(tx, otp).catch((error: unknown) => {
        throw error instanceof Problem && error.code === 'conflict' ? new Problem('login-failed', LOGIN_FAILED, { cause: error }) : error
      })
      await deps.credentials.putPassword(tx, password)
      return { facts: { rows: [otpRow(otp), passwordRow(password)].map(digestRow) } }
    },
    respond: () => ({ changed: true }),
  })
