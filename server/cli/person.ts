import type { ApiClient } from '../../clients/api.ts'
import { CliError } from './cli-error.ts'
import { assertReach, type ReachOptions, withClient } from './with-client.ts'

export interface PersonOptions extends ReachOptions {
  readonly json?: boolean
}

interface Person {
  readonly personId: string
  readonly name: string
  readonly state: string
  readonly login: string
  readonly registeredBy: string
  readonly callers: readonly { readonly callerId: string; readonly kind: string; readonly name: string; readonly state: string }[]
}
interface Session {
  readonly sessionId: string
  readonly state: string
  readonly address: string
  readonly openedAt: string
  readonly usedAt?: string
  readonly expiresAt: string
}

const PERSONS = '/v1/policies/persons'
const PAGE = 1000

/** As an officer, with a certificate. */
async function asOfficer<Answer>(
  options: PersonOptions,
  work: (client: ApiClient) => Promise<Answer>,
  describe: (answer: Answer) => readonly string[],
): Promise<void> {
  assertReach(options)
  const answer = await withClient(options, work)
  console.log(options.json === true ? JSON.stringify(answer, undefined, 2) : describe(answer).join('\n'))
}

/** Registers a registration of a kind, with a person of its own or one that is named. */
export function registerPersonCommand({
  name,
  kind,
  person,
  ...options
}: PersonOptions & { readonly name: string; readonly kind?: string; readonly person?: string }): Promise<void> {
  if (kind === undefined)
    return asOfficer(
      options,
      (client) => client.post<Person>(PERSONS, { name }),
      (made) => [...describePerson(made), `next        gridseal person register ${name}-... --kind business --person ${name} ...`],
    )
  return asOfficer(
    options,
    (client) => client.post<Record<string, string>>('/v1/policies/callers', { kind, name, ...(person === undefined ? {} : { person }) }),
    (made) => [
      `caller      ${made['urn'] ?? ''}`,
      `callerId    ${made['callerId'] ?? ''}`,
      `personId    ${made['personId'] ?? ''}`,
      `next        ${kind === 'officer' ? 'issue a certificate' : `issue a certificate, or: gridseal person ticket ${person ?? name} ...`}`,
    ],
  )
}

export const listPersonsCommand = (options: PersonOptions): Promise<void> =>
  asOfficer(options, allPersons, (persons) => persons.flatMap((person) => [...describePerson(person), '']).slice(0, -1))

/** The ticket goes to standard output alone, so that it can be handed over by a pipe. */
export const issueTicketCommand = ({ name, ...options }: PersonOptions & { readonly name: string }): Promise<void> =>
  asOfficer(
    options,
    async (client) => client.post<{ ticket: string; expiresAt: string }>(`${PERSONS}/${(await personNamed(client, name)).personId}/ticket`),
    ({ ticket, expiresAt }) => {
      console.error(`For ${name} alone, until ${expiresAt}; it is shown this once. They set password and codes: gridseal login enrol`)
      return [ticket]
    },
  )

export const revokePersonCommand = ({ name, ...options }: PersonOptions & { readonly name: string }): Promise<void> =>
  asOfficer(options, async (client) => client.post<Person>(`${PERSONS}/${(await personNamed(client, name)).personId}/revoke`), describePerson)

/** Lists, or ends. */
export async function sessionsCommand({ name, end, ...options }: PersonOptions & { readonly name: string; readonly end?: string | true }): Promise<void> {
  if (end === undefined)
    return asOfficer(
      options,
      async (client) => (await client.get<{ sessions: Session[] }>(`${PERSONS}/${(await personNamed(client, name)).personId}/sessions`)).sessions,
      (sessions) => describeSessions(sessions),
    )
  return asOfficer(
    options,
    async (client) =>
      client.post<{ ended: string[] }>(`${PERSONS}/${(await personNamed(client, name)).personId}/end-sessions`, end === true ? {} : { sessionId: end }),
    ({ ended }) => [`${String(ended.length)} ended${ended.length === 0 ? '' : `: ${ended.join(' ')}`}`],
  )
}

async function allPersons(client: ApiClient): Promise<Person[]> {
  const all: Person[] = []
  for (let after = ''; ; ) {
    const { persons } = await client.get<{ persons: Person[] }>(`${PERSONS}?limit=${String(PAGE)}${after === '' ? '' : `&after=${after}`}`)
    all.push(...persons)
    if (persons.length < PAGE) return all
    after = persons.at(-1)?.personId ?? ''
  }
}

async function personNamed(client: ApiClient, name: string): Promise<Person> {
  const found = (await allPersons(client)).find((person) => person.name === name)
  if (found === undefined) throw new CliError(`There is no person named ${name}. gridseal person list shows them.`)
  return found
}

const LOGIN: Readonly<Record<string, string>> = {
  none: 'no password',
  enrolling: 'password set, codes not yet',
  active: 'password and codes',
  frozen: 'frozen: somebody had the password and not the codes; a new ticket ends it',
}

const describePerson = ({ personId, name, state, login, registeredBy, callers }: Person): string[] => [
  `person      ${name}${state === 'revoked' ? ' (revoked)' : ''}`,
  `personId    ${personId}`,
  `login       ${LOGIN[login] ?? login}`,
  `registered  by ${registeredBy}`,
  ...callers.map((one) => `as          ${one.kind}:${one.name}${one.state === 'revoked' ? ' (revoked)' : ''}  ${one.callerId}`),
]

export const describeSessions = (sessions: readonly Session[]): string[] =>
  sessions.length === 0
    ? ['no sessions']
    : sessions.map(
        ({ sessionId, state, address, openedAt, usedAt, expiresAt }) =>
          `${sessionId}  ${state.padEnd(16)}  from ${address}, opened ${openedAt}${usedAt === undefined ? '' : `, used ${usedAt}`}, at most until ${expiresAt}`,
      )
