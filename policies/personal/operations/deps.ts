import { z } from 'zod'
import type { LogReader } from '../../audit/reader.ts'
import { byAnotherOfficer } from '../../operation.ts'
import type { PersonalStore } from '../personal-store.ts'
import type { Subject } from '../personal-value.ts'

export interface Deps {
  readonly personal: PersonalStore
  readonly reader: Pick<LogReader, 'search'>
  /** The token's blind index of a value under a name. */
  readonly blindIndex: (values: readonly { readonly name: string; readonly value: string }[]) => Promise<Uint8Array[]>
  /** Values of younger entries are not erased. 0: of any. */
  readonly retentionDays: number
}

/** What nobody sees or erases alone, whatever the policy says. */
export const BY_AN_OFFICER = byAnotherOfficer(24)

export const PERSONAL_NAME = z.string().regex(/^[A-Za-z][A-Za-z0-9_.-]{0,63}$/, 'the name of a personal value, such as iccid')

export const SUBJECTS = z
  .array(
    z.strictObject({
      name: PERSONAL_NAME.optional().meta({ description: 'What it is: iccid, imsi, userPhone. Absent: it is looked for under every name.', example: 'iccid' }),
      value: z.string().min(1).max(1000).meta({ description: 'The whole value, as it was logged: there is no search by a part of it.' }),
    }),
  )
  .min(1)
  .max(20)
  .meta({ description: 'The personal values of one person or card.' })

/** By these the values are found. The index is of name and value together, so that a value without a name has one for every name there is. */
export async function blindIndexesOf({ personal, blindIndex }: Pick<Deps, 'personal' | 'blindIndex'>, subjects: readonly Subject[]): Promise<Uint8Array[]> {
  const names = subjects.every(({ name }) => name !== undefined) ? [] : await personal.names()
  const pairs = subjects.flatMap(({ name, value }) => (name === undefined ? names : [name]).map((one) => ({ name: one, value })))
  return pairs.length === 0 ? [] : blindIndex(pairs)
}
