import { z } from 'zod'
import { UUID_PATTERN } from '../../../core/ids.ts'
import { FIELD_NAMES, FIELDS, fieldOf, PATTERN_FIELDS } from '../search/field.ts'
import { assertQuery, EVERYTHING, LIMITS, type Query, QueryError } from '../search/query.ts'

/** Queries as JSON and as the parameters of a GET. Both give a {@link Query}. */

export const uuid = z.string().regex(UUID_PATTERN, 'not an operation id')
const value = z.string().min(1).max(256)
const values = z.array(value).min(1).max(LIMITS.values)
const time = z.string().max(32).meta({ description: 'RFC 3339; a day alone is its midnight in UTC', example: '2026-01-31T08:00:00Z' })

const about = FIELD_NAMES.map((name) => `\`${name}\`: ${fieldOf(name).about}`).join('; ')

const condition = z.union([
  z.strictObject({ field: z.enum(FIELD_NAMES), is: values }).meta({ description: `One of the values exactly, of an address also a network. ${about}.` }),
  z
    .strictObject({ field: z.enum(PATTERN_FIELDS), like: values })
    .meta({ description: 'Like one of the patterns: `*` is any characters, `?` one.', example: { field: 'operation', like: ['kms.key.*'] } }),
  z.strictObject({ ids: z.array(uuid).min(1).max(LIMITS.values) }).meta({ description: 'Entries of these operations.' }),
  z.strictObject({ person: value }).meta({ description: 'By any registration that this person, by name or id, ever had.' }),
  z.strictObject({ since: time }).meta({ description: 'Written then or later, by the clock of the machine that wrote.' }),
  z.strictObject({ until: time }).meta({ description: 'Written before.' }),
  z
    .strictObject({ personal: z.string().min(1).max(64), value })
    .meta({ description: 'With this personal value by name. The log keeps the blind index of the value alone, and so does the entry of the search.' }),
])

/** As deep as queries may be, and no deeper: a schema that named itself would follow hostile input as far as that goes. */
const nested = Array.from({ length: LIMITS.depth - 1 }).reduce<z.ZodType<Query>>((inner, _, depth) => {
  const list = z.array(inner).min(1).max(LIMITS.conditions)
  return z
    .union([condition, z.strictObject({ and: list }), z.strictObject({ or: list }), z.strictObject({ not: inner })], {
      error: 'neither a condition nor {and: [...]}, {or: [...]}, {not: ...}, or nested too deep: see /openapi.json',
    })
    .meta({ id: `AuditQuery${depth + 1}` })
}, condition)

export const queryInput = nested.superRefine((query, { addIssue }) => {
  try {
    assertQuery(query)
  } catch (error) {
    if (!(error instanceof QueryError)) throw error
    addIssue(error.message)
  }
})

const text = (name: keyof typeof FIELDS) => value.optional().meta({ description: fieldOf(name).about, example: fieldOf(name).example })

/** Parameters of a GET: one value each, and all of them. */
export const filterInput = {
  operationId: uuid.optional().meta({ description: 'Of this operation.', example: '0198f2c1-7a40-7c3e-9d52-6a1f0b2c3d4e' }),
  ...{ operation: text('operation'), caller: text('caller'), role: text('role'), zone: text('zone'), address: text('address') },
  ...{ object: text('object'), code: text('code'), kind: text('kind'), rule: text('rule'), revision: text('revision'), parent: text('parent') },
  person: value.optional().meta({ description: 'By any registration that this person, by name or id, ever had.' }),
  since: time.optional(),
  until: time.optional(),
}
type Filter = { readonly [Name in keyof typeof filterInput]?: string | undefined }

export function queryOf({ operationId, person, since, until, ...fields }: Filter): Query {
  const parts: Query[] = operationId === undefined ? [] : [{ ids: [operationId] }]
  for (const name of FIELD_NAMES) {
    const one = fields[name]
    if (one !== undefined) parts.push(PATTERN_FIELDS.includes(name) && /[*?]/.test(one) ? { field: name, like: [one] } : { field: name, is: [one] })
  }
  if (person !== undefined) parts.push({ person })
  if (since !== undefined) parts.push({ since })
  if (until !== undefined) parts.push({ until })
  return parts.length === 1 && parts[0] !== undefined ? parts[0] : parts.length === 0 ? EVERYTHING : { and: parts }
}

/** For the fault of a GET's parameters, which only together are a query. */
export function filterFault(filter: Filter): string | undefined {
  try {
    assertQuery(queryOf(filter))
    return undefined
  } catch (error) {
    if (error instanceof QueryError) return error.message
    throw error
  }
}
