import { z } from 'zod'
import { readImei } from '../imei.ts'
import type { Binding } from '../binding.ts'
import type { BindingName } from '../binding-store.ts'
import { ICCID, IMEI, UDID } from './views.ts'

/** The query by one of three names. */
export const NAME_FIELDS = { iccid: ICCID.optional(), imei: IMEI.optional(), udid: UDID.optional() }
export interface NameInput {
  readonly iccid?: string | undefined
  readonly imei?: string | undefined
  readonly udid?: string | undefined
}

export const hasOneName = ({ iccid, imei, udid }: NameInput): boolean => [iccid, imei, udid].filter((name) => name !== undefined).length === 1
export const ONE_NAME = 'exactly one of iccid, imei and udid is asked for'

/** INVARIANT: the input was found to have one. An IMEI is asked for by its 14 digits, however it is written. */
export function nameIn({ iccid, imei, udid }: NameInput): BindingName {
  if (iccid !== undefined) return { iccid }
  if (udid !== undefined) return { udid }
  const read = readImei(imei ?? '')
  if ('fault' in read) throw new RangeError(read.fault)
  return { imei: read.imei }
}

export const nameFacts = (name: BindingName): { public: { by: string }; personal: Record<string, string> } => ({
  public: { by: Object.keys(name).join() },
  personal: { ...name },
})

/** The ICCIDs that are asked about: the one by name, whether it is bound or not, else those that the device was bound to. */
export const cardsNamed = (name: BindingName, bindings: readonly Binding[]): readonly string[] =>
  'iccid' in name ? [name.iccid] : [...new Set(bindings.map(({ iccid }) => iccid))]

export const TIME = z.iso.datetime({ offset: true }).meta({ description: 'RFC 3339.', example: '2026-01-01T00:00:00Z' })
