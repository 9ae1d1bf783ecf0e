import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'

/** A process of leader-process.ts, and what it said. */
export class Leader {
  readonly process: ChildProcess
  /** Of its checkpoints. */
  readonly file: string
  readonly said: { readonly atMs: number; readonly line: string }[] = []

  constructor(settings: { readonly url: string; readonly file: string; readonly seed: Uint8Array; readonly intervalMs?: number }) {
    const { url, file, seed, intervalMs = 1000 } = settings
    const program = new URL('leader-process.ts', import.meta.url).pathname
    this.file = file
    const args = ['--import', 'tsx', program, url, file, Buffer.from(seed).toString('hex'), String(intervalMs)]
    this.process = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] })
    let rest = ''
    this.process.stdout?.on('data', (chunk: Buffer) => {
      const lines = (rest + chunk.toString('utf8')).split('\n')
      rest = lines.pop() ?? ''
      for (const line of lines) this.said.push({ atMs: performance.now(), line })
    })
  }

  get leads(): boolean {
    return this.said.findLast(({ line }) => line === 'leads' || line === 'stands by')?.line === 'leads'
  }

  /** What followed `word` on each line of it, from a time on. */
  told(word: string, sinceMs = 0): string[] {
    return this.said.filter(({ atMs, line }) => atMs >= sinceMs && line.startsWith(`${word} `)).map(({ line }) => line.slice(word.length + 1))
  }

  signal(signal: NodeJS.Signals): void {
    this.process.kill(signal)
  }

  async kill(): Promise<void> {
    if (this.process.exitCode !== null || this.process.signalCode !== null) return
    this.process.kill('SIGKILL')
    await once(this.process, 'exit')
  }
}
