import { Problem } from '../../core/problem.ts'
import { type ChildEnvironment, entryUrl, forkEntry } from '../child.ts'
import { unavailable } from '../errors.ts'
import type { Answer } from '../lane-message.ts'
import type { CEREMONIES, CeremonyName } from './ceremonies.ts'
import type { CeremonyToken } from './officer.ts'

const DEADLINE_MS = 60_000

type Parts<Name extends CeremonyName> = Parameters<(typeof CEREMONIES)[Name]>
type Made<Name extends CeremonyName> = ReturnType<(typeof CEREMONIES)[Name]>

/** Runs one ceremony in a process of its own, which has ended when this resolves: what it still writes, nobody else reads. Throws its problem; `hsm-unavailable` when the process died, and then what it made may be there. */
export function forkCeremony<Name extends CeremonyName>(environment: ChildEnvironment, name: Name, ...args: Parts<Name>): Promise<Made<Name>> {
  const child = forkEntry(entryUrl('ceremony/ceremony-process'), environment)
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => child.kill('SIGKILL'), DEADLINE_MS)
    let answer: Answer | undefined
    child.once('message', (given: Answer) => {
      answer = given
    })
    child.once('error', () => child.kill('SIGKILL'))
    child.once('exit', () => {
      clearTimeout(timer)
      if (answer === undefined) return reject(unavailable('the ceremony ended without an answer'))
      if (answer.ok) return resolve(answer.value as Made<Name>)
      return reject(new Problem(answer.problem, answer.detail, { cause: new Error(answer.reason) }))
    })
    child.send({ name, args }, () => undefined)
  })
}

/** The ceremonies that run while the service does. */
export type RunCeremony = <Name extends 'makeCardMaster' | 'makeTransportKey'>(name: Name, args: Parts<Name>[1]) => Promise<Made<Name>>

/** One after another: the officer's login stands alone on a token. */
export function ceremonyRunner(environment: ChildEnvironment, settings: CeremonyToken): RunCeremony {
  let last: Promise<unknown> = Promise.resolve()
  return <Name extends 'makeCardMaster' | 'makeTransportKey'>(name: Name, args: Parts<Name>[1]) => {
    const run = (): Promise<Made<Name>> => forkCeremony(environment, name, ...([settings, args] as unknown as Parts<Name>))
    const made = last.then(run)
    last = made.catch(() => undefined)
    return made
  }
}
