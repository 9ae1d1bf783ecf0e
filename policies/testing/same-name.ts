import type { SamePerson } from '../caller.ts'

/** {@link SamePerson} of tests without registrations: one name is one person, whatever they come as. */
export const sameName: SamePerson = (urn, caller) => Promise.resolve(urn.split(':').slice(3).join(':') === caller.name)
