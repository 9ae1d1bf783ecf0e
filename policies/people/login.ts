import { Problem } from '../../core/problem.ts'
import type { Account } from './account.ts'
import type { OtpRecord } from './credentials.ts'
import type { Deps } from './deps.ts'
import type { Proof } from './login-check.ts'
import type { Attempt } from './login-throttle.ts'

/** The one answer to whatever was wrong. */
export const LOGIN_FAILED = 'Name, password or code is not right, or the code was used before.'

const delayed = (waitMs: number): Problem => {
  const retryAfterSeconds = Math.ceil(waitMs / 1000)
  return new Problem('login-delayed', `Logins failed before. This one was not tried: wait ${String(retryAfterSeconds)} s.`, { retryAfterSeconds })
}

/** Throws `login-delayed` or `overloaded`: before the decision, so that nobody fills the log with what is not tried. */
export function assertMayTry({ throttle, hasher }: Pick<Deps, 'throttle' | 'hasher'>, attempt: Attempt): void {
  hasher.assertRoom()
  const waitMs = throttle.waitMs(attempt)
  if (waitMs !== undefined) throw delayed(waitMs)
}

/** Wrong codes with the right password in a row, after which the password is frozen: somebody has it who does not have the codes. */
export const MOST_WRONG_CODES = 10

/** Counts {@link MOST_WRONG_CODES} of each person. In memory: a restart begins anew. */
export class WrongCodes {
  readonly #counts = new Map<string, number>()

  /** Whether it was the last. */
  add(personId: string): boolean {
    const count = (this.#counts.get(personId) ?? 0) + 1
    this.#counts.set(personId, count)
    return count >= MOST_WRONG_CODES
  }

  forget(personId: string): void {
    this.#counts.delete(personId)
  }
}

/** Checks what was shown. Throws `login-failed`, whatever it was, `login-delayed`, or `overloaded`. */
export async function prove(
  { throttle, check, wrongCodes, freeze }: Pick<Deps, 'throttle' | 'check' | 'wrongCodes' | 'freeze'>,
  { account, attempt, proof, at }: { readonly account: Account | undefined; readonly attempt: Attempt; readonly proof: Proof; readonly at: Date },
): Promise<{ readonly account: Account; readonly otp: OtpRecord }> {
  const admitted = throttle.begin(attempt)
  if (typeof admitted === 'number') throw delayed(admitted)
  const { isPasswordRight, otp } = await check.check(account, proof, at).catch((error: unknown) => {
    // Of other failures the caller's own counts too: an entry was written of it.
    if (error instanceof Problem && error.code === 'overloaded') admitted.abandoned()
    throw error
  })
  if (account === undefined || !isPasswordRight) throw new Problem('login-failed', LOGIN_FAILED)
  const personId = account.person.id
  if (typeof otp === 'string') {
    // One that was used is no guess: a form that was sent twice.
    if (otp === 'wrong' && wrongCodes.add(personId)) await freeze(personId)
    throw new Problem('login-failed', LOGIN_FAILED)
  }
  wrongCodes.forget(personId)
  admitted.succeeded()
  return { account, otp }
}
