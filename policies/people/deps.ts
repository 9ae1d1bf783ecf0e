import type { CallerStore } from '../callers/caller-store.ts'
import type { CredentialStore } from './credential-store.ts'
import type { LoginBudgets } from './login-budgets.ts'
import type { LoginCheck } from './login-check.ts'
import type { LoginThrottle } from './login-throttle.ts'
import type { PasswordHasher } from './password-hash.ts'
import type { PersonSecrets } from './person-secrets.ts'
import type { PersonStore } from './person-store.ts'
import type { SessionLimits } from './session.ts'
import type { SessionStore } from './session-store.ts'

/** What the operations on people share. */
export interface Deps {
  readonly persons: PersonStore
  readonly callers: CallerStore
  readonly credentials: CredentialStore
  readonly sessions: SessionStore
  readonly secrets: PersonSecrets
  readonly hasher: PasswordHasher
  readonly check: LoginCheck
  readonly throttle: LoginThrottle
  readonly budgets: LoginBudgets
  readonly limits: SessionLimits
  readonly now: () => Date
  /** `n` unpredictable bytes. */
  readonly random: (n: number) => Uint8Array
  /** Makes a password useless after too many wrong codes with it. */
  readonly freeze: (personId: string) => Promise<void>
}
