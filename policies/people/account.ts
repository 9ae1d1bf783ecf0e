import type { SealedRow } from '../../core/row.ts'
import type { Registration } from '../callers/caller-store.ts'
import type { OtpRecord, PasswordRecord } from './credentials.ts'
import type { Deps } from './deps.ts'
import { mayUsePassword, type Person } from './person.ts'

/** A person with all that they log in with. */
export interface Account {
  readonly person: Person
  readonly registration: Registration
  readonly password: PasswordRecord
  readonly otp: OtpRecord
  readonly sealedOtp: SealedRow
}

/** The id that is looked for where there is no person: nobody has it. */
const NOBODY = 'nobody'

/**
 * The account of a name that may log in now, and the person, if there is one. A name that is none takes the same statements: neither answer nor time tells.
 */
export async function loadAccount(
  { persons, callers, credentials }: Pick<Deps, 'persons' | 'callers' | 'credentials'>,
  name: string,
): Promise<{ readonly person: Person | undefined; readonly account: Account | undefined }> {
  const person = await persons.findByName(name)
  const id = person?.id ?? NOBODY
  const [registrations, password, otp] = await Promise.all([callers.listOf([id]), credentials.findPassword(id), credentials.findOtp(id)])
  const registration = registrations.find(({ kind, state }) => state === 'active' && mayUsePassword(kind))
  const isOpen = person?.state === 'active' && registration !== undefined && password?.state === 'active' && otp?.otp.state === 'active'
  return { person, account: isOpen ? { person, registration, password, otp: otp.otp, sealedOtp: otp.sealed } : undefined }
}
