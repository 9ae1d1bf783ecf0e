import { ApiProblem } from './api.ts'
import type { Participant } from './site.ts'

/** The client of somebody who asks, or approves. */
export type Officer = Pick<Participant, 'client'>

/** Does what takes two: one asks, the other looks at it and approves, the first runs it. Answers what the operation does. */
export async function byTwo<Answer>([asking, approving]: readonly [Officer, Officer], path: string, body: unknown): Promise<Answer> {
  const hold = `/v1/policies/holds/${await askHeld(asking, path, body)}`
  const { digest } = await approving.client.get<{ digest: string }>(hold)
  await approving.client.post(`${hold}/approve`, { digest })
  return asking.client.post<Answer>(`${hold}/run`)
}

/** The id of the held request. */
export async function askHeld({ client }: Officer, path: string, body: unknown): Promise<string> {
  try {
    await client.post(path, body)
  } catch (error) {
    if (error instanceof ApiProblem && error.code === 'held') return error.instance.replace('urn:uuid:', '')
    throw error
  }
  throw new Error(`${path} was to be held for a second person, and was done at once`)
}
