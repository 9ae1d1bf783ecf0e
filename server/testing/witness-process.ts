import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { programArguments } from '../../clients/site.ts'

/** A witness as a process of its own. */
export interface WitnessProcess {
  readonly process: ChildProcess
  readonly url: string
  /** SIGTERM; answers the exit code. */
  stop(): Promise<number | null>
  kill(): Promise<void>
}

/** `gridseal witness ...`, to its end; answers what it printed. Throws with what it said when it fails. */
export const runWitness = (...args: readonly string[]): string =>
  execFileSync(process.execPath, [...programArguments(), 'witness', ...args], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] }).trim()

/** Waits until it answers. Rejects with what it said when it ends before. */
export async function startWitness(folder: string, listen = '127.0.0.1:0'): Promise<WitnessProcess> {
  const child = spawn(process.execPath, [...programArguments(), 'witness', 'serve', folder, '--listen', listen], { stdio: ['ignore', 'pipe', 'pipe'] })
  const ended = once(child, 'exit').then(([code]) => code as number | null)
  let said = ''
  child.stderr.on('data', (chunk: Buffer) => (said += chunk.toString('utf8')))
  const url = await new Promise<string>((resolve, reject) => {
    child.stdout.on('data', (chunk: Buffer) => {
      said += chunk.toString('utf8')
      const line = said.split('\n').find((one) => one.includes('"ready"'))
      if (line !== undefined) resolve((JSON.parse(line) as { url: string }).url)
    })
    void ended.then((code) => reject(new Error(`the witness ended with ${String(code)}: ${said}`)))
  })
  const end = (signal: NodeJS.Signals): Promise<number | null> => {
    child.kill(signal)
    return ended
  }
  return { process: child, url, stop: () => end('SIGTERM'), kill: async () => void (await end('SIGKILL')) }
}
