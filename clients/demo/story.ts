import type { WriteStream } from 'node:tty'
import { ApiProblem } from '../api.ts'

/** Tells what the demo does, a line a step: what, the answer, how long. On a terminal the line lives while it runs. */
export class Story {
  readonly #out: WriteStream
  readonly #start = performance.now()
  readonly #log: string[] = []
  #reached = ''

  constructor(out: WriteStream) {
    this.#out = out
  }

  /** The last lines of the service, told only when something fails. */
  readonly keepLog = (line: string): void => {
    this.#log.push(line)
    if (this.#log.length > 30) this.#log.shift()
  }

  say(line: string): void {
    this.#out.write(`${line}\n`)
  }

  /** Remembers how long it took to get here, for the end. */
  reach(place: string): void {
    this.#reached = `${place} reached after ${seconds(performance.now() - this.#start)}`
  }

  async step<T>(title: string, work: () => Promise<T>, tell: (result: T) => string = () => ''): Promise<T> {
    const start = performance.now()
    this.#live(`  .  ${title}`)
    const result = await work()
    const told = tell(result)
    this.#settle(`  ok ${title}${told === '' ? '' : `: ${told}`} (${seconds(performance.now() - start)})`)
    return result
  }

  /** A step that must fail with this status (or exit code). Anything else is the demo's failure. */
  async refused(who: string, status: number, work: () => Promise<unknown>): Promise<void> {
    const outcome = await work().then(
      () => undefined,
      (error: unknown) => error,
    )
    if (outcome === undefined) throw new Error(`${who}: was to be refused, and was not`)
    if (outcome instanceof ApiProblem && outcome.status === status) {
      const id = outcome.instance.replace('urn:uuid:', '')
      this.#settle(`  ok refused, ${who}: ${String(status)} ${outcome.code} (${status === 401 ? 'counted in the log, before the gate' : `audit entry ${id}`})`)
    } else if ((outcome as { code?: unknown }).code === status) {
      this.#settle(`  ok refused, ${who}: ${(outcome as { stderr?: string }).stderr?.trim().split('\n')[0] ?? ''}`)
    } else throw outcome instanceof Error ? outcome : new Error('something that is no error was thrown', { cause: outcome })
  }

  /** A step with a bar. Answers how long it took, in ms. */
  async progress(title: string, work: (advance: (done: number, all: number) => void) => Promise<void>): Promise<number> {
    const start = performance.now()
    let total = 0
    await work((done, all) => {
      total = all
      const width = 30
      const full = all === 0 ? 0 : Math.floor((done / all) * width)
      this.#live(`  .  ${title} [${'#'.repeat(full)}${'-'.repeat(width - full)}] ${done.toLocaleString('en')} of ${all.toLocaleString('en')}`)
    })
    const ms = performance.now() - start
    this.#settle(`  ok ${title} ${total.toLocaleString('en')} cards: ${((total / ms) * 1000).toFixed(0)} cards/s (${seconds(ms)})`)
    return ms
  }

  /** What must be so before anything begins: else the reason, and the end. */
  orEnd<T>(work: () => T): T {
    try {
      return work()
    } catch (error) {
      this.fail(error)
      process.exit(1)
    }
  }

  fail(error: unknown): void {
    this.#settle(`FAILED: ${error instanceof Error ? error.message : String(error)}`)
    const told = error as { stderr?: string; body?: unknown }
    if (told.stderr) this.say(told.stderr)
    if (told.body !== undefined) this.say(JSON.stringify(told.body, null, 2))
    if (this.#log.length > 0) this.say(`What the service said last:\n${this.#log.map((line) => `  ${line}`).join('\n')}`)
  }

  end({
    cards,
    fillMs,
    entries,
    folder,
    vkey,
  }: {
    readonly cards: number
    readonly fillMs: number
    readonly entries: number
    readonly folder: string
    readonly vkey: string
  }): void {
    this.say(
      [
        '',
        `Done in ${seconds(performance.now() - this.#start)}; ${this.#reached}.`,
        `  ${cards.toLocaleString('en')} cards filled at ${((cards / fillMs) * 1000).toFixed(0)} cards/s, each with its entry in the log (${entries.toLocaleString('en')} entries).`,
        `  ${folder}`,
        '    people/             certificates and keys of the officers; root.pem, which everybody trusts',
        '    delivery.ndjson     what the vendor got; transport-key.json, acme-cards.encryption.key.pem: how it opens it',
        '    audit-log.ndjson    the exported log; approval.json, approval.tlog-proof: one entry of it, and its proof',
        '    binding.jwt         what a card’s evidence was worth (EAR); jwks.json: the keys that it is checked with',
        'Try it yourself:',
        `  npm run gridseal -- vendor open --delivery ${folder}/delivery.ndjson --transport-key ${folder}/transport-key.json \\`,
        `      --key ${folder}/acme-cards.encryption.key.pem --trust ${folder}/people/root.pem`,
        `  npm run gridseal -- audit verify ${folder}/audit-log.ndjson --key '${vkey}'`,
        `  npm run gridseal -- audit verify-proof ${folder}/approval.json ${folder}/approval.tlog-proof --key '${vkey}'`,
        `  npm run gridseal -- attest verify ${folder}/binding.jwt --keys ${folder}/jwks.json`,
        '',
      ].join('\n'),
    )
  }

  #live(line: string): void {
    if (this.#out.isTTY) this.#out.write(`\r\u001b[2K${line.slice(0, this.#out.columns - 1)}`)
  }

  #settle(line: string): void {
    this.#out.write(this.#out.isTTY ? `\r\u001b[2K${line}\n` : `${line}\n`)
  }
}

const seconds = (ms: number): string => (ms < 10_000 ? `${(ms / 1000).toFixed(2)} s` : `${(ms / 1000).toFixed(1)} s`)
