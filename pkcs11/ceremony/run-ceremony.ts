import { Problem } from '../../core/problem.ts'
import { type ChildEnvironment, entryUrl, forkEntry } from '../child.ts'
import { unavailable } from '../errors.ts'
import type { Answer } from '../lane-message.ts'
import { promptedHolder } from '../pin.ts'
import { isPinAsked, type PinAsked, type PinGiven } from '../typed-pins.ts'
import type { CEREMONIES, CeremonyName } from './ceremonies.ts'
import type { CeremonyToken } from './officer.ts'

const DEADLINE_MS = 60_000

type Parts<Name extends CeremonyName> = Parameters<(typeof CEREMONIES)[Name]>
type Made<Name extends CeremonyName> = ReturnType<(typeof CEREMONIES)[Name]>

/** Those that the security officer takes part in: nobody types their PIN for another. */
const OFFICERS: readonly CeremonyName[] = ['makeRootKeys', 'restoreKeys', 'makeTransportKey', 'makeGeneration', 'provePins']

/** Runs one ceremony in a process of its own, which has ended when this resolves: what it still writes, nobody else reads. Throws its problem; `hsm-unavailable` when the process died, and then what it made may be there. */
export async function forkCeremony<Name extends CeremonyName>(environment: ChildEnvironment, name: Name, ...args: Parts<Name>): Promise<Made<Name>> {
  const [settings, ...rest] = args as unknown as readonly [object, ...unknown[]]
  const needed = Object.fromEntries(Object.entries(settings).filter(([, source]) => promptedHolder(source) !== 'officer' || OFFICERS.includes(name)))
  // Before its time runs: people type slowly.
  for (const source of Object.values(needed)) {
    const holder = promptedHolder(source)
    if (holder !== undefined) await environment.pins?.prepare(holder)
  }
  const child = forkEntry(entryUrl('ceremony/ceremony-process'), environment)
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => child.kill('SIGKILL'), DEADLINE_MS)
    let answer: Answer | undefined
    child.on('message', (given: Answer | PinAsked) => {
      if (isPinAsked(given)) {
        environment.pins?.seal(given.holder, given.publicKey).then(
          (pin) => child.send({ kind: 'pin', pin } satisfies PinGiven, () => undefined),
          () => child.kill('SIGKILL'),
        )
      } else answer = given
    })
    child.once('error', () => child.kill('SIGKILL'))
    child.once('exit', () => {
      clearTimeout(timer)
      if (answer === undefined) return reject(unavailable('the ceremony ended without an answer'))
      if (answer.ok) return resolve(answer.value as Made<Name>)
      return reject(new Problem(answer.problem, answer.detail, { cause: new Error(answer.reason) }))
    })
    child.send({ name, args: [needed, ...rest] }, () => undefined)
  })
}

/** The ceremonies that run while the service does. */
type Running = 'makeCardMaster' | 'makeTransportKey' | 'makeGeneration' | 'destroyGeneration'
export interface RunCeremony {
  <Name extends Running>(name: Name, args: Parts<Name>[1]): Promise<Made<Name>>
  /** Whether the security officer's PIN is at hand. */
  readonly hasOfficer: boolean
}

/** One after another: the officer's login stands alone on a token. */
export function ceremonyRunner(environment: ChildEnvironment, settings: CeremonyToken): RunCeremony {
  let last: Promise<unknown> = Promise.resolve()
  const runner = <Name extends Running>(name: Name, args: Parts<Name>[1]): Promise<Made<Name>> => {
    const run = (): Promise<Made<Name>> => forkCeremony(environment, name, ...([settings, args] as unknown as Parts<Name>))
    const made = last.then(run)
    last = made.catch(() => undefined)
    return made
  }
  return Object.assign(runner, { hasOfficer: settings.officerPinFile !== undefined })
}
