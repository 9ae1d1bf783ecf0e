import { CliError } from './cli-error.ts'
import { assertReach, type ReachOptions, withClient } from './with-client.ts'

export type AskOptions = ReachOptions & { readonly json?: boolean }

/** Prints what the service answers: as JSON, or as `lines` says. */
export async function show<Answer>(
  options: AskOptions,
  [method, address, body]: readonly ['GET' | 'POST', string, unknown?],
  lines: (answer: Answer) => readonly string[],
): Promise<Answer> {
  assertReach(options)
  const answer = await withClient(options, (client) => (method === 'GET' ? client.get<Answer>(address) : client.post<Answer>(address, body ?? {})))
  tell(options, answer, lines)
  return answer
}

/** Prints an answer that is there: as JSON, or as `lines` says. */
export function tell<Answer>({ json }: Pick<AskOptions, 'json'>, answer: Answer, lines: (answer: Answer) => readonly string[]): void {
  console.log(json === true ? JSON.stringify(answer, undefined, 2) : lines(answer).join('\n'))
}

/** Nothing but a UUID goes into an address. */
export function uuidOf(text: string, what: string): string {
  if (!/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/.test(text)) throw new CliError(`${text} is not the id of ${what}: a UUID in lower case.`)
  return text
}
