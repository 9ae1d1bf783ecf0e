import type { ChildProcess } from 'node:child_process'
import { isatty } from 'node:tty'
import { Problem } from '../core/problem.ts'
import { entryUrl, forkEntry } from './child.ts'
import type { PinHolder } from './pin.ts'
import type { SealedPin } from './sealed-pin.ts'

export type ToKeeper =
  | { readonly id: number; readonly kind: 'prompt'; readonly holder: PinHolder }
  | { readonly id: number; readonly kind: 'seal'; readonly holder: PinHolder; readonly publicKey: Uint8Array }
  | { readonly id: number; readonly kind: 'forget'; readonly holder: PinHolder }

export type FromKeeper =
  | { readonly id: number; readonly kind: 'prompted' }
  | { readonly id: number; readonly kind: 'sealed'; readonly pin: SealedPin }
  | { readonly id: number; readonly kind: 'failed'; readonly reason: string }

/**
 * PINs that are typed at the terminal (`pin-source=prompt`). They are kept by a child process, which reads the terminal itself: this process passes on what is sealed for
 * a lane or ceremony, and has no PIN in clear. It asks for each once.
 */
export class PinKeeper {
  #child: ChildProcess | undefined
  readonly #waiting = new Map<number, { readonly resolve: (answer: FromKeeper) => void; readonly reject: (error: Problem) => void }>()
  #next = 0

  /** Has the PIN typed, where it is not yet. Throws the problem `hsm-unavailable` without a terminal, or where nobody types one. */
  async prepare(holder: PinHolder): Promise<void> {
    if (this.#child === undefined && !isatty(0))
      throw new Problem(
        'hsm-unavailable',
        'A PIN is to be typed (prompt), and there is no terminal to type it at. Start from a terminal, or name the source of the PIN: a file of mode 0600 (pin-source=file:/path), or a variable (pin-source=env:NAME).',
      )
    await this.#ask((id) => ({ id, kind: 'prompt', holder }))
  }

  /** The PIN for the process that has the private key. */
  async seal(holder: PinHolder, publicKey: Uint8Array): Promise<SealedPin> {
    const answer = await this.#ask((id) => ({ id, kind: 'seal', holder, publicKey }))
    if (answer.kind !== 'sealed') throw notTyped('the keeper of the PIN gave none')
    return answer.pin
  }

  /** Nobody needs it any more. */
  forget(holder: PinHolder): void {
    this.#child?.send({ id: -1, kind: 'forget', holder } satisfies ToKeeper, () => undefined)
  }

  close(): void {
    this.#child?.disconnect()
    this.#child = undefined
  }

  async #ask(messageOf: (id: number) => ToKeeper): Promise<FromKeeper> {
    const child = (this.#child ??= this.#start())
    const message = messageOf(this.#next++)
    child.ref()
    child.channel?.ref()
    const answer = await new Promise<FromKeeper>((resolve, reject) => {
      this.#waiting.set(message.id, { resolve, reject })
      child.send(message, () => undefined)
    })
    if (answer.kind === 'failed') throw notTyped(answer.reason)
    return answer
  }

  #start(): ChildProcess {
    const child = forkEntry(entryUrl('pin-keeper-process'), { set: {}, pass: [] }, { terminal: true })
    child.on('message', (answer: FromKeeper) => {
      const waiting = this.#waiting.get(answer.id)
      this.#waiting.delete(answer.id)
      // It keeps no command running that is at its end.
      if (this.#waiting.size === 0) {
        child.unref()
        child.channel?.unref()
      }
      waiting?.resolve(answer)
    })
    child.once('exit', () => {
      if (this.#child === child) this.#child = undefined
      for (const { reject } of this.#waiting.values()) reject(notTyped('the keeper of the PIN has ended'))
      this.#waiting.clear()
    })
    child.on('error', () => child.kill('SIGKILL'))
    return child
  }
}

const notTyped = (why: string): Problem => new Problem('hsm-unavailable', `The token cannot be used: ${why}. Start again, and type the PIN.`)
