import { ApiClient } from '../../clients/api.ts'
import type { Service, Participant } from '../../clients/site.ts'
import { totpOf } from '../../policies/people/testing/people-house.ts'

const PASSWORD = 'tower gravel anise 9'
const STEP_MS = 30_000

interface Place {
  readonly service: Service
  readonly trust: string
  readonly alice: Participant
}

/** Somebody with password and one-time codes. */
export interface EnrolledPerson {
  readonly name: string
  /** Base32. */
  readonly secret: string
  readonly recoveryCodes: string[]
}

const anonymous = async <Result>({ service, trust }: Place, work: (client: ApiClient) => Promise<Result>): Promise<Result> => {
  const client = new ApiClient({ url: service.url, trust })
  try {
    return await work(client)
  } finally {
    client.close()
  }
}

/** An auditor of this name, enrolled with a ticket. The code that confirms is that of the step before now: the one of now is left. */
export async function enrolPerson(place: Place, name: string): Promise<EnrolledPerson> {
  const { personId } = await place.alice.client.post<{ personId: string }>('/v1/policies/callers', { kind: 'auditor', name })
  const { ticket } = await place.alice.client.post<{ ticket: string }>(`/v1/policies/persons/${personId}/ticket`)
  return anonymous(place, async (client) => {
    await client.post('/v1/policies/password', { ticket, password: PASSWORD })
    const { secret } = await client.post<{ secret: string }>('/v1/policies/totp', { ticket })
    const code = totpOf(secret, new Date(Date.now() - STEP_MS))
    const { recoveryCodes } = await client.post<{ recoveryCodes: string[] }>('/v1/policies/totp/confirm', { ticket, code })
    return { name, secret, recoveryCodes }
  })
}

/** By a code of now, once a step, or by a recovery code. Answers who they are then. */
export const logIn = (place: Place, { name, secret, recoveryCodes }: EnrolledPerson, by: 'code' | 'recovery code', password = PASSWORD): Promise<string> =>
  anonymous(place, async (client) => {
    const proof = by === 'code' ? { code: totpOf(secret, new Date()) } : { recoveryCode: recoveryCodes.pop() }
    return (await client.post<{ caller: string }>('/v1/policies/session', { name, password, ...proof })).caller
  })
