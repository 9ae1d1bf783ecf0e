import { Problem } from '../../core/problem.ts'
import { classify, DETAILS } from '../errors.ts'
import type { Answer } from '../lane-message.ts'
import { TokenAway } from '../token.ts'
import { withTypedPins } from '../typed-pins.ts'
import { CEREMONIES, type CeremonyName } from './ceremonies.ts'

/** One ceremony, then the end of the process: it has the officer's PIN, so it lives no longer than that. */
process.on('disconnect', () => process.exit(1))
process.once('message', ({ name, args }: { readonly name: CeremonyName; readonly args: readonly unknown[] }) => {
  void answer(name, args).then((given) => process.send?.(given, () => process.exit(0)))
})

async function answer(name: CeremonyName, [settings, ...rest]: readonly unknown[]): Promise<Answer> {
  return withTypedPins(settings as object, (typed) => run(name, [typed, ...rest]))
}

function run(name: CeremonyName, args: readonly unknown[]): Answer {
  try {
    const ceremony = CEREMONIES[name] as (...args: readonly unknown[]) => unknown
    return { ok: true, value: ceremony(...args) }
  } catch (error) {
    if (error instanceof Problem) return { ok: false, problem: error.code, detail: error.detail, reason: error.detail }
    const { problem, reason } = error instanceof TokenAway ? { problem: 'hsm-unavailable' as const, reason: error.message } : classify(error)
    return { ok: false, problem, detail: DETAILS[problem], reason: `${name}: ${reason}` }
  }
}
