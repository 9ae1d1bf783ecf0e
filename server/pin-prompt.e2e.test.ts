import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { programArguments } from '../clients/site.ts'
import { canRun } from '../core/testing/tools.ts'
import { softToken, type SoftToken } from '../pkcs11/testing/soft-token.ts'
import { fastFolder } from './postgres/test-server.ts'
import { descendantsOf, eventually, killNow, lanesOf } from './testing/processes.ts'
import { SecretScan } from './testing/secret-scan.ts'

/** PINs that people type, at a pseudo-terminal (script, of util-linux). */

let folder: string
let token: SoftToken
let uri: string
const pin = { user: '', officer: '' }

beforeAll(async () => {
  folder = mkdtempSync(join(fastFolder(), 'gridseal-prompt-'))
  token = await softToken(folder, 'typed')
  uri = token.uri.replace(/pin-source=.*$/, 'pin-source=prompt')
  pin.user = readFileSync(token.settings.pinSource as string, 'utf8').trim()
  pin.officer = readFileSync(token.settings.officerPinFile, 'utf8').trim()
})
afterAll(() => rmSync(folder, { recursive: true, force: true }))

const environment = (extra: Readonly<Record<string, string>> = {}): NodeJS.ProcessEnv => ({
  ...process.env,
  ...{ GRIDSEAL_DATA: join(folder, 'data'), GRIDSEAL_TLS_PORT: '0', GRIDSEAL_PLAIN_PORT: '0', GRIDSEAL_LANES: '1' },
  ...{ SOFTHSM2_CONF: token.env.SOFTHSM2_CONF, GRIDSEAL_TOKEN: uri },
  ...extra,
})

/** A program at a terminal, and what it shows. */
class Terminal {
  readonly child: ChildProcess
  shown = ''

  constructor(args: readonly string[], extra: Readonly<Record<string, string>> = {}) {
    const command = [process.execPath, ...programArguments(), ...args].map((word) => `'${word.replaceAll("'", `'\\''`)}'`).join(' ')
    this.child = spawn('script', ['--quiet', '--flush', '--return', '--command', command, '/dev/null'], {
      env: environment(extra),
      stdio: ['pipe', 'pipe', 'pipe'],
    })
    this.child.stdout?.on('data', (chunk: Buffer) => void (this.shown += chunk.toString('utf8')))
  }

  async until(pattern: RegExp): Promise<RegExpExecArray> {
    return eventually(
      String(pattern),
      () => {
        if (this.child.exitCode !== null && !pattern.test(this.shown)) throw new Error(`it ended: ${this.shown}`)
        return pattern.exec(this.shown) ?? undefined
      },
      { timeoutMs: 60_000 },
    )
  }

  type(text: string): void {
    this.child.stdin?.write(text)
  }

  async ended(): Promise<number | null> {
    if (this.child.exitCode === null) await once(this.child, 'exit')
    return this.child.exitCode
  }
}

describe.runIf(canRun('script'))('a PIN that is typed', () => {
  it('serves a ceremony: the user’s and the officer’s, each asked for once, and not shown', async () => {
    const terminal = new Terminal(['token', 'init'], { GRIDSEAL_OFFICER_PIN_FILE: 'prompt' })
    await terminal.until(/User PIN of the token: $/)
    terminal.type(`${pin.user}\r`)
    await terminal.until(/Security officer’s PIN of the token: \s*$/)
    terminal.type(`${pin.officer}\r`)
    expect(await terminal.ended(), terminal.shown).toBe(0)
    expect(terminal.shown).toContain('has its root keys')
    expect(terminal.shown.match(/PIN of the token/g)).toHaveLength(2)
    expect(terminal.shown).not.toContain(pin.user)
    expect(terminal.shown).not.toContain(pin.officer)
  })

  it('is not waited for without a terminal: it says what to do', async () => {
    const failed = await promisify(execFile)(process.execPath, [...programArguments(), 'token', 'show'], { env: environment() }).then(
      () => undefined,
      (error: unknown) => error as { readonly code: number; readonly stderr: string },
    )
    expect(failed?.code).toBe(1)
    expect(failed?.stderr).toContain('there is no terminal')
    expect(failed?.stderr).toContain('pin-source=file:')
    expect(failed?.stderr).not.toContain('    at ')
  })

  it.each([
    ['Ctrl-C', '\u0003'],
    ['the end of input', '\u0004'],
    ['an empty line', '\r'],
  ])('%s is no PIN: the token is not asked', async (_claim, typed) => {
    const terminal = new Terminal(['token', 'show'])
    await terminal.until(/User PIN of the token: $/)
    terminal.type(typed)
    expect(await terminal.ended(), terminal.shown).toBe(1)
    expect(terminal.shown).toContain('no PIN was typed')
  })

  it('that is wrong is tried once', async () => {
    const terminal = new Terminal(['token', 'show'])
    await terminal.until(/User PIN of the token: $/)
    terminal.type('not the PIN at all\r')
    expect(await terminal.ended()).toBe(1)
    expect(terminal.shown).not.toContain('not the PIN at all')
    expect(terminal.shown.match(/PIN of the token: /g)).toHaveLength(1)
  })

  it('serves a service, whose lanes get it again when they are replaced; the service itself never has it', async () => {
    // The officer's is not asked for where no key is made.
    const terminal = new Terminal(['serve'], { GRIDSEAL_OFFICER_PIN_FILE: 'prompt' })
    let service = 0
    try {
      await terminal.until(/User PIN of the token: $/)
      terminal.type(`${pin.user}\r`)
      const [, plain = ''] = await terminal.until(/"plain":"([^"]+)"[^\n]*"msg":"ready"/)
      service = Number((await terminal.until(/"pid":(\d+)[^\n]*"msg":"ready"/))[1])
      const [lane = 0] = lanesOf(service)
      killNow([lane])
      await eventually('another lane', () => (lanesOf(service).some((pid) => pid !== lane) ? true : undefined))
      await eventually('the token again', async () => ((await fetch(`${plain}/readyz`)).status === 200 ? true : undefined))
      await eventually('its metric', async () => (/^gridseal_lane_restarts 1$/m.test(await (await fetch(`${plain}/metrics`)).text()) ? true : undefined))
      expect(terminal.shown.match(/PIN of the token: /g)).toHaveLength(1)
      expect(terminal.shown).not.toContain(pin.user)

      const scan = new SecretScan().add('user PIN', pin.user)
      expect(scan.memory(service)).toEqual([])
      const commandOf = (pid: number): string => readFileSync(`/proc/${pid}/cmdline`, 'utf8')
      const keeper = descendantsOf(service).find((pid) => commandOf(pid).includes('pin-keeper-process')) ?? 0
      // The control: it is kept, and found.
      expect(scan.memory(keeper)).not.toEqual([])
      terminal.child.kill('SIGCONT')
      for (const pid of [service, ...descendantsOf(service)]) {
        expect(readFileSync(`/proc/${pid}/environ`, 'utf8')).not.toContain(pin.user)
        expect(commandOf(pid)).not.toContain(pin.user)
      }
      expect(scan.folder(join(folder, 'data'))).toEqual([])
    } finally {
      // Stands still with the service while that is scanned.
      terminal.child.kill('SIGCONT')
      if (service !== 0) process.kill(service, 'SIGTERM')
      else terminal.child.kill()
      await terminal.ended()
    }
    await eventually('the end of its keeper', () => (descendantsOf(service).length === 0 ? true : undefined))
  })
})
