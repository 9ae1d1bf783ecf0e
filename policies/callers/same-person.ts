import { Problem } from '../../core/problem.ts'
import { callerUrn, type SamePerson } from '../caller.ts'
import { isHuman } from '../people/person.ts'
import type { CallerStore } from './caller-store.ts'

/** {@link SamePerson} by the registrations. Throws `integrity-failed` where the registration of a person, which is never deleted, is gone. */
export const samePersonBy =
  (callers: Pick<CallerStore, 'findByName'>): SamePerson =>
  async (urn, caller) => {
    if (urn === callerUrn(caller)) return true
    if (caller.person === undefined) return false
    const [, , kind = '', ...rest] = urn.split(':')
    const name = rest.join(':')
    if (kind === 'person') return name === caller.person.name
    if (!isHuman(kind)) return false
    const registration = await callers.findByName(kind, name)
    if (registration === undefined) throw new Problem('integrity-failed', `The registration of ${urn} is gone. Nothing was approved.`)
    return registration.personId === caller.person.id
  }
