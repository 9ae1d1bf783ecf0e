import { createInterface, type Interface } from 'node:readline'
import { Writable } from 'node:stream'
import { isatty } from 'node:tty'
import { CliError } from './cli-error.ts'

/** Asks on the terminal, on standard error; what is secret is not shown while it is typed. Where standard input is no terminal, its lines are the answers in their order. */
export class Prompt {
  readonly #lines: Interface
  readonly #isTerminal = isatty(0)
  readonly #typed: string[] = []
  readonly #waiting: ((line: string | undefined) => void)[] = []
  #isOver = false
  #isHidden = false

  constructor() {
    const shown = new Writable({
      write: (chunk: Buffer, _encoding, done) => {
        if (!this.#isHidden) process.stderr.write(chunk)
        done()
      },
    })
    this.#lines = createInterface({ input: process.stdin, output: shown, terminal: this.#isTerminal })
    this.#lines.on('line', (line) => {
      const waiting = this.#waiting.shift()
      if (waiting === undefined) this.#typed.push(line)
      else waiting(line)
    })
    this.#lines.on('close', () => {
      this.#isOver = true
      for (const waiting of this.#waiting.splice(0)) waiting(undefined)
    })
    this.#lines.on('SIGINT', () => this.#lines.close())
  }

  /** Throws a {@link CliError} when there is no answer. */
  async ask(question: string, { secret = false }: { readonly secret?: boolean } = {}): Promise<string> {
    if (this.#isTerminal) process.stderr.write(`${question}: `)
    this.#isHidden = secret
    const line = this.#typed.shift() ?? (this.#isOver ? undefined : await new Promise<string | undefined>((resolve) => void this.#waiting.push(resolve)))
    this.#isHidden = false
    if (this.#isTerminal && secret) process.stderr.write('\n')
    if (line === undefined) throw new CliError(`Nothing was typed for: ${question}`)
    return line
  }

  close(): void {
    this.#lines.close()
  }
}
