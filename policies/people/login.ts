import { base64url, utf8 } from '../../core/bytes.ts'
import { Problem } from '../../core/problem.ts'
import type { Account } from './account.ts'
import type { OtpRecord } from './credentials.ts'
import type { Deps } from './deps.ts'
import type { Proof } from './login-check.ts'
import type { Budget } from './login-budgets.ts'
import { type Attempt, networkOf } from './login-throttle.ts'

/** The one answer to whatever was wrong. */
export const LOGIN_FAILED = 'Name, password or code is not right, or the code was used before.'

const delayed = (waitMs: number): Problem => {
  const retryAfterSeconds = Math.ceil(waitMs / 1000)
  return new Problem('login-delayed', `Logins failed before. This one was not tried: wait ${String(retryAfterSeconds)} s.`, { retryAfterSeconds })
}

/** What is shared of an attempt by all nodes. Names go by a MAC: people type passwords in their place. */
async function budgetsOf(
  { secrets, throttle: { settings } }: Pick<Deps, 'secrets' | 'throttle'>,
  { name, address, device }: Attempt,
): Promise<readonly Budget[]> {
  if (device !== undefined) return []
  const { nameBurst, nameEveryMs, addressBurst, addressEveryMs } = settings
  const named = base64url(await secrets.pepper('login-name', utf8(name)))
  return [
    { key: `name ${named}`, burst: nameBurst, everyMs: nameEveryMs },
    { key: `network ${networkOf(address)}`, burst: addressBurst, everyMs: addressEveryMs },
  ]
}

type Throttling = Pick<Deps, 'throttle' | 'budgets'>

/**
 * What the attempt will be counted by. Throws `login-delayed` or `overloaded`: before the decision, so that nobody fills the log with what is not tried. This node is
 * asked before the database.
 */
export async function assertMayTry(deps: Throttling & Pick<Deps, 'secrets' | 'hasher'>, attempt: Attempt): Promise<readonly Budget[]> {
  deps.hasher.assertRoom()
  const ownMs = deps.throttle.waitMs(attempt)
  if (ownMs !== undefined) throw delayed(ownMs)
  const budgets = await budgetsOf(deps, attempt)
  const waitMs = await deps.budgets.waitMs(budgets)
  if (waitMs !== undefined) throw delayed(waitMs)
  return budgets
}

/** Counts the attempt here and over all nodes; it counts as failed until something else is said. Throws `login-delayed`. */
async function begin(deps: Throttling, attempt: Attempt, budgets: readonly Budget[]): Promise<{ succeeded(): Promise<void>; abandoned(): Promise<void> }> {
  const admitted = deps.throttle.begin(attempt)
  if (typeof admitted === 'number') throw delayed(admitted)
  const waitMs = await deps.budgets.take(budgets)
  if (waitMs !== undefined) {
    admitted.abandoned()
    throw delayed(waitMs)
  }
  return {
    succeeded: () => {
      admitted.succeeded()
      return deps.budgets.giveBack(budgets)
    },
    abandoned: () => {
      admitted.abandoned()
      return deps.budgets.giveBack(budgets)
    },
  }
}

/** Wrong codes with the right password in a row, after which the password is frozen: somebody has it who does not have the codes. */
export const MOST_WRONG_CODES = 10

/** Checks what was shown. Throws `login-failed`, whatever it was, `login-delayed`, or `overloaded`. */
export async function prove(
  deps: Throttling & Pick<Deps, 'check' | 'freeze'>,
  {
    account,
    attempt,
    shared,
    proof,
    at,
  }: {
    readonly account: Account | undefined
    readonly attempt: Attempt
    /** What {@link assertMayTry} said. */
    readonly shared: readonly Budget[]
    readonly proof: Proof
    readonly at: Date
  },
): Promise<{ readonly account: Account; readonly otp: OtpRecord }> {
  const { budgets, check, freeze } = deps
  const admitted = await begin(deps, attempt, shared)
  const { isPasswordRight, otp } = await check.check(account, proof, at).catch(async (error: unknown) => {
    // Of other failures the caller's own counts too: an entry was written of it.
    if (error instanceof Problem && error.code === 'overloaded') await admitted.abandoned()
    throw error
  })
  if (account === undefined || !isPasswordRight) throw new Problem('login-failed', LOGIN_FAILED)
  const personId = account.person.id
  if (typeof otp === 'string') {
    // One that was used is no guess: a form that was sent twice.
    if (otp === 'wrong' && (await budgets.addWrongCode(personId)) >= MOST_WRONG_CODES) {
      await freeze(personId)
      await budgets.forgetWrongCodes(personId)
    }
    throw new Problem('login-failed', LOGIN_FAILED)
  }
  await budgets.forgetWrongCodes(personId)
  await admitted.succeeded()
  return { account, otp }
}
