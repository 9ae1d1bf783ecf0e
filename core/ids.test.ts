import { expect, it } from 'vitest'
import { newUuid, UUID_PATTERN } from './ids.ts'

it('a UUID version 7 bears the time, the version and the variant (RFC 9562, the example of appendix A.6)', () => {
  expect(newUuid(0x017f22e279b0, '00000000-0000-4cc3-98c4-dc0c0c07398f')).toBe('017f22e2-79b0-7cc3-98c4-dc0c0c07398f')
})

it('UUIDs made later sort later, and none comes twice', () => {
  const made = Array.from({ length: 1000 }, (_, at) => newUuid(1_700_000_000_000 + at))
  expect(made.toSorted()).toEqual(made)
  expect(new Set(Array.from({ length: 1000 }, () => newUuid())).size).toBe(1000)
  for (const id of made) expect(id).toMatch(UUID_PATTERN)
})
